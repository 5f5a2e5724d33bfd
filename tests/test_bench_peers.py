"""sparsecore.bench.peers: each is found or says why not, and computes what is meant."""

import os
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bench_cases import cases, small
from sparsecore.bench.comparison import Absent, Contender, verify
from sparsecore.bench.operands import kind_of, matrices, product
from sparsecore.bench.peers import eigen, find_peers, mkl_sparse, shared_library

# The plainest library that --peer-library takes.
SOURCE = r"""
#include <cstdint>
struct Matrix { int64_t rows, cols; const int32_t *indptr, *indices; const float* values; };
extern "C" void* spmm_create(int64_t rows, int64_t cols, const int32_t* indptr,
                             const int32_t* indices, const float* values) {
  return new Matrix{rows, cols, indptr, indices, values};
}
extern "C" int spmm_run(void* handle, int64_t n, const float* X, float* Y) {
  const Matrix& A = *static_cast<Matrix*>(handle);
  for (int64_t i = 0; i < A.rows * n; ++i) Y[i] = 0;
  for (int64_t row = 0; row < A.rows; ++row)
    for (int32_t p = A.indptr[row]; p < A.indptr[row + 1]; ++p)
      for (int64_t j = 0; j < n; ++j) Y[row * n + j] += A.values[p] * X[A.indices[p] * n + j];
  return STATUS;
}
extern "C" void spmm_destroy(void* handle) { delete static_cast<Matrix*>(handle); }
"""


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a function that compiles the source above."""
    if not (os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")):
        pytest.skip("no C++ compiler on this machine")
    folder = tmp_path_factory.mktemp("peer")

    @cache  # a library that is loaded must not be written again
    def build(name: str, *flags: str) -> Path:
        source = folder / f"{name}.cpp"
        source.write_text(SOURCE, encoding="utf-8")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tempfile, "tempdir", str(folder))
            made = eigen.compile_library(source, flags)
        return made.rename(folder / f"lib{name}.so")

    return build


def test_a_library_built_elsewhere_takes_part(build: Any) -> None:
    options = small("spmm", peers=(), libraries=[build("plain", "-DSTATUS=0")])
    for case in cases(options):
        verify(case)
        assert case.contenders["plain"].packing == "beforehand"
        assert case.contenders["plain, first call"].packing == "included"


def test_what_a_library_cannot_do_is_said(build: Any) -> None:
    libraries = [build("plain", "-DSTATUS=0")]
    turned = cases(small("spmm", peers=(), libraries=libraries, order="f"))[0]
    assert turned.absent["plain"] == "no product column after column"
    wide = cases(small("spmm", peers=(), libraries=libraries, dtypes=["float64"]))[0]
    assert wide.absent["plain"] == "fp32 only"
    gradient = cases(small("train", peers=(), libraries=libraries))[1]
    assert gradient.absent["plain"] == "no transposed product"
    built = cases(small("build", peers=(), libraries=libraries))[0]
    assert built.absent["plain"] == "not compared in construction"


def test_a_status_other_than_zero_ends_the_run(build: Any) -> None:
    (case,) = cases(small("spmm", columns=[3], libraries=[build("failing", "-DSTATUS=7")]))
    with pytest.raises(RuntimeError, match="failing failed with status 7"):
        verify(case)


def test_a_file_that_is_no_such_library_is_absent(tmp_path: Path, build: Any) -> None:
    text = tmp_path / "libtext.so"
    text.write_text("no library", encoding="utf-8")
    lacking = build("lacking", "-DSTATUS=0", "-Dspmm_destroy=another_name")
    roster = find_peers(small("spmm", peers=(), libraries=[text, lacking]))
    assert roster.present == {}
    assert "spmm_destroy" in roster.absent["lacking"]
    assert str(tmp_path) not in roster.absent["text"]


def test_peers_not_asked_for_are_named() -> None:
    roster = find_peers(small("spmm", peers=()))
    assert dict(roster.absent) == dict.fromkeys(("scipy", "torch", "mkl", "eigen"), "not asked for")


def test_peers_not_installed_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "scipy.sparse", None)
    monkeypatch.setattr(mkl_sparse, "find_library", lambda _: None)
    monkeypatch.setattr("importlib.metadata.files", lambda _: None)
    monkeypatch.setenv("EIGEN_INCLUDE_DIR", os.devnull)
    roster = find_peers(small("spmm", peers=("scipy", "torch", "mkl", "eigen")))
    assert roster.present == {}
    assert roster.absent["scipy"] == "scipy is not installed"
    assert roster.absent["torch"] == "torch is not installed"
    assert "mkl" in roster.absent["mkl"]
    assert "Eigen" in roster.absent["eigen"]


def offers(find: Any, **changes: Any) -> list[Any]:
    """Return a peer's offers for float32, both orders and a vector; skip where it is absent."""
    try:
        peer = find()
    except Absent as reason:
        pytest.skip(str(reason))
    options = small("spmm", **changes)
    (A,) = matrices(options, "float32")
    return [peer.products(product(A, n, options, kind_of("float32"))) for n in options.columns]


@pytest.mark.parametrize("order", ["c", "f"])
@pytest.mark.parametrize("find", [mkl_sparse.find, lambda: eigen.find(None)], ids=["mkl", "eigen"])
def test_mkl_and_eigen_have_a_product_of_each_orientation(find: Any, order: str) -> None:
    for found in offers(find, order=order):
        assert found
        assert all(isinstance(offer, Contender) for offer in found.values())


def test_eigen_is_right() -> None:
    if "eigen" not in find_peers(small("spmm", peers=("eigen",))).present:
        pytest.skip("Eigen's headers or a compiler are missing")
    for order in "cf":
        for case in cases(small("spmm", peers=("eigen",), order=order)):
            verify(case)
            assert case.contenders["eigen"].packing == "none"


def test_a_peer_library_needs_its_three_functions(tmp_path: Path) -> None:
    with pytest.raises(Absent):
        shared_library.find(tmp_path / "absent.so")
