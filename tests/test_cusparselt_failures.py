"""What becomes of cuSPARSELt's own failures: errors that say which call, and what to do."""

import pytest

import cusparselt_cases as lt
from device_cases import back

torch = pytest.importorskip("torch", reason="torch is not installed")

pytestmark = pytest.mark.gpu

M, N, K = 32, 16, 64


def zeros(*shape):
    return torch.zeros(shape, dtype=torch.float16)


MEMORY = (2, 11)


def error_in_a_thread(body):
    """Run body() in a thread without a handle; return the RuntimeError that it raises."""

    def run():
        with pytest.raises(RuntimeError) as raised:
            body()
        return str(raised.value)

    return lt.in_threads(run)[0]


@pytest.mark.parametrize("status", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 4711])
def test_each_status_is_an_error_of_its_own(status, cusparselt, gpu, monkeypatch):
    lt.fake()
    S = cusparselt.compress(zeros(M, K).to(gpu))
    monkeypatch.setenv("FAKE_CUSPARSELT_FAIL", f"cusparseLtMatmul={status}")
    words = rf"^cuSPARSELt 0\.8\.1: cusparseLtMatmul returned status {status}: \w.{{10}}"
    with pytest.raises(MemoryError if status in MEMORY else RuntimeError, match=words):
        cusparselt.matmul(S, zeros(K, N).to(gpu))
    monkeypatch.delenv("FAKE_CUSPARSELT_FAIL")
    assert (back(cusparselt.matmul(S, zeros(K, N).to(gpu))) == 0).all()


CALLS = [
    "Init", "StructuredDescriptorInit", "SpMMACompressedSize2", "SpMMACompress2",
    "DenseDescriptorInit", "MatmulDescriptorInit", "MatmulDescSetAttribute",
    "MatmulAlgSelectionInit", "MatmulAlgGetAttribute", "MatmulPlanInit", "MatmulGetWorkspace",
    "Matmul", "MatmulSearch",
]  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_each_call_that_fails_is_named(call, cusparselt, gpu, monkeypatch, tmp_path):
    lt.fake()
    bias, algorithm = zeros(M).to(gpu), cusparselt.Algorithm(2, 1, 1, 0)

    def products():
        S = cusparselt.compress(zeros(M, K).to(gpu))
        cusparselt.matmul(S, zeros(K, N).to(gpu), bias=bias, algorithm=algorithm)
        cusparselt.search(S, zeros(K, N).to(gpu), path=tmp_path / "searches.json")

    monkeypatch.setenv("FAKE_CUSPARSELT_FAIL", f"cusparseLt{call}=6")
    error = error_in_a_thread(products)
    assert error.startswith(f"cuSPARSELt 0.8.1: cusparseLt{call} returned status 6")


def test_without_a_driver(cusparselt, gpu, monkeypatch):
    lt.fake()
    monkeypatch.setenv("FAKE_CUSPARSELT_FAIL", "cusparseLtInit=1")
    error = error_in_a_thread(lambda: cusparselt.compress(zeros(M, K).to(gpu)))
    assert "no driver or no device: see what nvidia-smi says" in error


def test_without_the_library(cusparselt, gpu, monkeypatch):
    lt.fake()
    monkeypatch.setenv("SPARSECORE_CUSPARSELT", "/nowhere/libcusparseLt.so.0")
    with pytest.raises(RuntimeError, match=r"/nowhere/.*pip install 'sparsecore\[cuda\]'"):
        cusparselt.compress(zeros(M, K).to(gpu))
