"""NVIDIA's cuSPARSE as a peer: each of its algorithms for CSR times dense, preprocessed.

The library is the one that torch has loaded; the functions and numbers are those of its manual
("cuSPARSE Generic APIs", SpMM).
"""

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import torch

from sparsecore.bench.comparison import Absent

__all__ = ["ALGORITHMS", "multiplier", "version"]

ALGORITHMS = {"alg1": 4, "alg2": 5, "alg3": 12}  # CUSPARSE_SPMM_CSR_ALG1, 2, 3
_SONAMES = ("libcusparse.so.12", "libcusparse.so.13", "libcusparse.so.11", "libcusparse.so")
_NO_TRANSPOSE, _INT32, _ZERO_BASED, _ROW_MAJOR = 0, 2, 0, 2
# cudaDataType_t: the values', and what sums are kept in.
_TYPES = {
    torch.float32: (0, 0),
    torch.float64: (1, 1),
    torch.float16: (2, 0),
    torch.bfloat16: (14, 0),
}


@functools.cache
def _library() -> ctypes.CDLL:
    if not torch.cuda.is_available():
        msg = "torch has no CUDA device"
        raise Absent(msg)
    torch.cuda.init()  # type: ignore[no-untyped-call]  # loads what torch needs
    for name in _SONAMES:
        try:
            return ctypes.CDLL(name)
        except OSError:  # not of this name: the next
            continue
    msg = f"none of {', '.join(_SONAMES)} can be loaded"
    raise Absent(msg)


def _checked(status: int, what: str) -> None:
    if status != 0:
        msg = f"{what} returned status {status}"
        raise Absent(msg)


@functools.cache
def _new_handle() -> ctypes.c_void_p:
    """Return the one handle, which holds memory of the device until the process ends."""
    handle = ctypes.c_void_p()
    _checked(_library().cusparseCreate(ctypes.byref(handle)), "cusparseCreate")
    return handle


def _handle(library: ctypes.CDLL) -> ctypes.c_void_p:
    handle = _new_handle()
    stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
    _checked(library.cusparseSetStream(handle, stream), "cusparseSetStream")
    return handle


def version() -> str:
    """Return the library's version, as it says it.

    Raises
    ------
    Absent
        Where it cannot be loaded.
    """
    library, found = _library(), ctypes.c_int()
    _checked(
        library.cusparseGetVersion(_handle(library), ctypes.byref(found)), "cusparseGetVersion"
    )
    return str(found.value)


def multiplier(
    arrays: tuple[Any, Any, Any], shape: tuple[int, int], X: Any, algorithm: str
) -> Callable[[], Any]:
    """Return a call that multiplies by one algorithm, everything that is done once done.

    Parameters
    ----------
    arrays : (data, indices, indptr)
        On the device; the indices int32.
    X : (k, n) row-major

    Raises
    ------
    Absent
        Where the library is not there, or refuses.
    """
    data, indices, indptr = arrays
    library = _library()
    handle, pointer, size = _handle(library), ctypes.c_void_p, ctypes.c_int64
    kind, sums = _TYPES[data.dtype]
    out = X.new_empty(shape[0], X.shape[1])
    matrix, dense, result = pointer(), pointer(), pointer()
    _checked(
        library.cusparseCreateCsr(
            ctypes.byref(matrix), size(shape[0]), size(shape[1]), size(len(data)),
            pointer(indptr.data_ptr()), pointer(indices.data_ptr()), pointer(data.data_ptr()),
            _INT32, _INT32, _ZERO_BASED, kind,
        ),
        "cusparseCreateCsr",
    )  # fmt: skip
    for made, tensor in ((dense, X), (result, out)):
        rows, columns = tensor.shape
        _checked(
            library.cusparseCreateDnMat(
                ctypes.byref(made), size(rows), size(columns), size(columns),
                pointer(tensor.data_ptr()), kind, _ROW_MAJOR,
            ),
            "cusparseCreateDnMat",
        )  # fmt: skip
    one, zero = (
        (ctypes.c_double if sums else ctypes.c_float)(1),
        (ctypes.c_double if sums else ctypes.c_float)(0),
    )
    common = (
        handle, _NO_TRANSPOSE, _NO_TRANSPOSE, ctypes.byref(one), matrix, dense, ctypes.byref(zero),
        result, sums, ALGORITHMS[algorithm],
    )  # fmt: skip
    nbytes = ctypes.c_size_t()
    _checked(
        library.cusparseSpMM_bufferSize(*common, ctypes.byref(nbytes)), "cusparseSpMM_bufferSize"
    )
    buffer = torch.empty(max(1, nbytes.value), dtype=torch.uint8, device=X.device)
    _checked(
        library.cusparseSpMM_preprocess(*common, pointer(buffer.data_ptr())),
        "cusparseSpMM_preprocess",
    )
    kept = (data, indices, indptr, X, buffer, one, zero)

    def multiply() -> Any:
        _checked(library.cusparseSpMM(*common, pointer(kept[4].data_ptr())), "cusparseSpMM")
        return out

    return multiply
