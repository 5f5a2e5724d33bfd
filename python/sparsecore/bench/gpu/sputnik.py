"""Sputnik as a peer (Gale et al. 2020), where someone has built it: fp32 CSR times dense.

The library is named by the environment: ``SPARSECORE_SPUTNIK=/path/to/libsputnik.so``.
"""

import ctypes
import os
from collections.abc import Callable
from typing import Any

import torch

from sparsecore.bench.comparison import Absent

__all__ = ["multiplier"]

_VARIABLE = "SPARSECORE_SPUTNIK"
# sputnik::CudaSpmm(int m, k, n, nonzeros, int const* row_indices, float const* values, int const*
# row_offsets, int const* column_indices, float const* dense, float* out, CUstream_st*).
_SYMBOL = "_ZN7sputnik8CudaSpmmEiiiiPKiPKfS1_S1_S3_PfP11CUstream_st"


def _function() -> Any:
    path = os.environ.get(_VARIABLE)
    if not path:
        msg = f"not built: {_VARIABLE} names no library"
        raise Absent(msg)
    try:
        function = getattr(ctypes.CDLL(path), _SYMBOL)
    except (OSError, AttributeError) as reason:
        raise Absent(str(reason)) from reason
    function.argtypes = [ctypes.c_int] * 4 + [ctypes.c_void_p] * 7
    function.restype = ctypes.c_int
    return function


def multiplier(arrays: tuple[Any, Any, Any], shape: tuple[int, int], X: Any) -> Callable[[], Any]:
    """Return a call that multiplies, with the rows ordered by length beforehand as Sputnik does.

    Parameters
    ----------
    arrays : (data, indices, indptr)
        On the device; fp32 and int32.
    X : (k, n) row-major

    Raises
    ------
    Absent
        Where the library is not there, or has no such product.
    """
    data, indices, indptr = arrays
    if data.dtype != torch.float32:
        msg = f"not called for {data.dtype}: its 16-bit product wants even rows and columns"
        raise Absent(msg)
    function = _function()
    longest_first = indptr.diff().argsort(descending=True, stable=True).to(torch.int32)
    columns, offsets = indices.to(torch.int32), indptr.to(torch.int32)
    (m, k), n = shape, X.shape[1]
    out = X.new_empty(m, n)
    tensors = (longest_first, data, offsets, columns, X, out)
    pointers = tuple(tensor.data_ptr() for tensor in tensors)

    def multiply() -> Any:
        stream = torch.cuda.current_stream().cuda_stream if X.is_cuda else None
        status = function(m, k, n, len(tensors[1]), *pointers, stream)
        if status != 0:
            msg = f"sputnik::CudaSpmm returned status {status}"
            raise RuntimeError(msg)
        return out

    return multiply
