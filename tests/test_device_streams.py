"""Streams, graphs and devices, which only CUDA itself has: products are what torch's own are."""

import numpy as np
import pytest

import cases
import sparsecore as sc
from device_cases import back, tensor
from oracle import BF16, F32
from sparsecore import _core

torch = pytest.importorskip("torch", reason="torch is not installed")

pytestmark = pytest.mark.gpu


@pytest.fixture
def cuda(gpu):
    """Return the device, which has streams."""
    if _core.cuda_is_emulated:
        pytest.skip("the emulation has one stream, in which all is done at once: no device")
    return gpu


def matrix(dtype=F32, shape=(40, 60)):
    return cases.random_dense(np.random.default_rng(1), shape, 0.4, dtype)


def operands(shape, dtype, device, count):
    rng = np.random.default_rng(2)
    return [tensor(cases.numbers(rng, shape, dtype), device) for _ in range(count)]


@pytest.mark.parametrize(
    ("kernel", "dtype"),
    [("rows", F32), ("tf32", F32), ("3xtf32", F32), ("bitmap", BF16), ("delta4", BF16)],
    ids=str,
)
def test_a_plans_products_are_captured_and_replayed_with_other_values(kernel, dtype, cuda):
    A = sc.CSR.from_dense(tensor(matrix(dtype), cuda))
    P = A.prepare(n=3, backward=True, kernel=kernel)
    X, Z = operands((60, 3), dtype, cuda, 2), operands((3, 40), dtype, cuda, 2)

    def both(x, z):
        return sc.csr_matmul(P, x), z @ P, sc.linear(x.t(), P, activation="relu")

    wanted = [[back(y) for y in both(x, z)] for x, z in zip(X, Z, strict=True)]
    x, z = X[0].clone(), Z[0].clone()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        both(x, z)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = both(x, z)
    for i in (1, 0):
        x.copy_(X[i])
        z.copy_(Z[i])
        graph.replay()
        for got, want in zip(results, wanted[i], strict=True):
            assert (back(got) == want).all()


def test_products_run_on_the_current_stream(cuda):
    A = sc.CSR.from_dense(tensor(matrix(), cuda))
    (X,) = operands((60, 9), F32, cuda, 1)
    want = back(A @ X)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    late = torch.zeros_like(X)
    with torch.cuda.stream(side):
        torch.cuda._sleep(200_000_000)  # a tenth of a second at least
        late.copy_(X)
        got = A @ late
        assert not side.query()  # nobody waited
    side.synchronize()
    assert (back(got) == want).all()


def test_what_a_matrix_holds_outlives_work_of_another_stream(cuda):
    dense = matrix(shape=(300, 400))
    (X,) = operands((400, 9), F32, cuda, 1)
    A = sc.CSR.from_dense(tensor(dense, cuda))
    want, P = back(A @ X), A.prepare()
    A.data.record_stream(side := torch.cuda.Stream())
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        torch.cuda._sleep(200_000_000)
        got = [A @ X, P @ X]
    X.record_stream(side)
    P.update(torch.zeros_like(A.data))
    del A, P
    # Memory that went back to the allocator would be what these get, and overwrite.
    junk = [torch.full((n,), 255, dtype=torch.uint8, device=cuda) for n in (301, 602, 10**5) * 50]
    side.synchronize()
    for y in got:
        assert (back(y) == want).all()
    del junk


@pytest.mark.usefixtures("cuda")
def test_the_device_of_the_operands_is_used_whatever_the_current_one():
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one device")
    first, second = (torch.device("cuda", i) for i in (0, 1))
    dense, results = matrix(), []
    for device in (first, second):
        with torch.cuda.device(first):
            A = sc.CSR.from_dense(tensor(dense, device))
            (X,) = operands((60, 9), F32, device, 1)
            assert A.T.tocsr().device == (A @ X).device == device
            results.append(back(A @ X))
            assert torch.cuda.current_device() == 0
    assert (results[0] == results[1]).all()
    with pytest.raises(TypeError, match="expected the same device"):
        A @ X.to(first)
