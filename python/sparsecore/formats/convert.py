"""Dense arrays, scipy's matrices and torch's sparse tensors, taken apart and put together."""

import sys
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias, TypeVar

import numpy as np

from sparsecore import _core, interop
from sparsecore.formats import arguments
from sparsecore.formats.arguments import ValuesLike
from sparsecore.formats.placement import Structure
from sparsecore.interop import Array, Values
from sparsecore.threads import get_num_threads

Made = TypeVar("Made")

# What makes matrices where their values are: `_core` on the host, `sparsecore.cuda.construct` for
# those of a device, with the same functions.
Maker: TypeAlias = Any


def maker_of(values: Values) -> Maker:
    """Return what makes matrices of such values."""
    if not interop.on_device(values):
        return _core
    from sparsecore.cuda import construct

    return construct


# ---- sorted, duplicates summed ----


def canonical(
    build: Callable[[Any, int], tuple[Made, Any, Any, Any]], values: Values, *, name: str
) -> tuple[Made, Values]:
    """Return what `build(values, threads)` makes of a matrix, and its values; differentiable.

    The core sorts and sums values itself; those that autograd follows are moved by torch.
    """
    if interop.on_device(values):
        return _canonical_on_device(build, values)
    if tracks_gradient(values):
        made, order, starts, _ = build(None, get_num_threads())
        return made, interop.combine(values, order, starts)
    made, _, _, moved = build(interop.to_numpy(values, name=name), get_num_threads())
    return made, values if moved is None else interop.from_numpy(moved, like=values)


def _canonical_on_device(
    build: Callable[[Any, int], tuple[Made, Any, Any, Any]], values: Values
) -> tuple[Made, Values]:
    if not tracks_gradient(values):
        made, _, _, moved = build(values.detach(), get_num_threads())
        return made, values if moved is None else moved
    from sparsecore.cuda import duplicates

    made, order, starts, _ = build(None, get_num_threads())
    return made, duplicates.combined(values, order, starts)


def sum_triplets(
    data: Values, position: tuple[Any, Any], shape: tuple[int, int]
) -> tuple[tuple[Any, Any], Values]:
    """Return ((row, col), data) by row, then column, one entry a coordinate; differentiable.

    Takes no memory for rows that hold nothing. The indices are immutable and in stored widths.
    """
    return canonical(partial(maker_of(data).sum_triplets, *position, shape), data, name="data")


# ---- dense ----


def dense_values(W: ValuesLike, *, name: str, device: bool = False, float8: bool = False) -> Values:
    """Return `W` as 2-D values: an array or tensor as it is, in whatever memory order it has.

    `device` says whether it may be in the memory of a CUDA device, `float8` whether of 8 bits.
    """
    W = interop.as_met(W)
    if interop.is_tensor(W):
        return arguments.as_values(W, name=name, ndim=2, device=device, float8=float8)
    array = np.asarray(W)
    arguments.value_dtype(array.dtype, name=name, float8=float8)
    if array.ndim != 2:
        msg = f"{name} has {array.ndim} axes, expected 2"
        raise TypeError(msg)
    return array if array.flags.aligned else array.copy()


def tracks_gradient(W: Values) -> bool:
    """Whether an operation on `W` would be recorded by torch's autograd."""
    return interop.is_tensor(W) and bool(
        W.requires_grad and interop.import_torch().is_grad_enabled()
    )


def check_addressable(shape: tuple[int, int], values: Values, *, name: str) -> None:
    """Raise MemoryError where a dense matrix of the dtype of `values` exceeds the address space.

    (numpy has a ValueError for that. As there, an axis of size 0 does not make the others small.)
    """
    nbytes = max(shape[0], 1) * max(shape[1], 1) * values.itemsize
    if nbytes > np.iinfo(np.intp).max:
        msg = f"{name}: shape {shape} of {values.dtype} spans {nbytes} bytes, too many to address"
        raise MemoryError(msg)


def nonzeros(W: Values, *, name: str) -> tuple[Structure, Values]:
    """Return the structure and the values of a dense matrix's non-zeros; differentiable."""
    maker = maker_of(W)
    dense = W if maker is not _core else interop.to_numpy(W, name=name)
    structure, values = maker.csr_from_dense(dense, get_num_threads())
    if tracks_gradient(W):
        return structure, gather_dense(structure, W)
    return structure, values if maker is not _core else interop.from_numpy(values, like=W)


def scatter_dense(structure: Structure, data: Values) -> Values:
    """Return the dense (m, n) matrix; differentiable for torch."""
    if not interop.is_tensor(data) or (interop.on_device(data) and not tracks_gradient(data)):
        return structure.to_dense(data)
    return data.new_zeros(structure.shape).index_put(_position(structure, data), data)


def gather_dense(structure: Structure, W: Values) -> Values:
    """Return the values of a tensor `W` at the stored positions; differentiable."""
    return W[_position(structure, W)]


def _position(structure: Structure, like: Values) -> tuple[Any, Any]:
    rows, columns = structure.row_ids(), structure.indices
    return interop.index_view(rows, like=like), interop.index_view(columns, like=like)


# ---- scipy ----


def check_scipy(matrix: Any, *, name: str) -> None:
    """Raise TypeError where `matrix` is not a 2-D scipy sparse array or matrix."""
    scipy_sparse = sys.modules.get("scipy.sparse")
    if scipy_sparse is None or not scipy_sparse.issparse(matrix):
        kind = f"{type(matrix).__module__}.{type(matrix).__qualname__}".removeprefix("builtins.")
        msg = f"{name} is a {kind}, expected a 2-D scipy.sparse array or matrix"
        raise TypeError(msg)
    if matrix.ndim != 2:
        msg = f"{name} has {matrix.ndim} axes, expected 2"
        raise TypeError(msg)


def compressed_parts(matrix: Any) -> tuple[Array, Array, Array]:
    """Return (data, indices, indptr) of scipy's csr or csc, not validated; the data is a copy.

    scipy's arrays may be longer than the last offset says; what is past it is no part of the
    matrix.
    """
    data, indices, indptr = matrix.data, matrix.indices, matrix.indptr
    end = int(indptr[-1]) if len(indptr) else 0
    return data[:end].copy(), indices[:end], indptr


def scipy_values(data: Values, *, name: str) -> Array:
    """Return a writable copy of `data` in a dtype that scipy computes with.

    Raises
    ------
    TypeError
        For fp16 and bf16: scipy has no sparse arrays of them.
    """
    array = interop.to_numpy(data, name=name)
    if array.dtype.name in ("float16", "bfloat16"):
        msg = f"{name}: scipy has no sparse arrays of {array.dtype}; use A.astype('float32') first"
        raise TypeError(msg)
    return array.copy()


def widen(index: Array, largest: int) -> Array:
    """Return `index` as int32 where `largest` fits it, else int64: what scipy and numpy expect."""
    fits = largest <= np.iinfo(np.int32).max
    return index.astype(np.int32 if fits else np.int64)


# ---- torch ----


def require_layout(tensor: Any, *allowed: str, name: str) -> str:
    """Return the layout of `tensor` ("strided", "sparse_coo", ...), which must be in `allowed`.

    Raises
    ------
    TypeError
        Where `tensor` is no tensor, or in another layout.
    """
    if not interop.is_tensor(tensor):
        msg = f"{name} is a {type(tensor).__name__}, expected a torch tensor"
        raise TypeError(msg)
    layout = str(tensor.layout).removeprefix("torch.")
    if layout not in allowed:
        msg = f"{name} has layout {layout}, expected {' or '.join(allowed)}"
        raise TypeError(msg)
    return layout


def coo_parts(tensor: Any, *, name: str) -> tuple[Any, Any, Any]:
    """Return (values, row, col) of a sparse_coo tensor, duplicates and order kept where they can.

    A tensor with a graph is coalesced by torch first: only then do gradients pass to its values.
    """
    if tensor.ndim != 2:
        msg = f"{name} has {tensor.ndim} axes, expected 2"
        raise TypeError(msg)
    if tensor.requires_grad or tensor.is_coalesced():
        tensor = tensor.coalesce()
        values, indices = tensor.values(), tensor.indices()
    else:
        values, indices = tensor._values(), tensor._indices()
    if indices.shape[0] != 2:
        msg = f"{name} has {indices.shape[0]} sparse axes, expected 2"
        raise TypeError(msg)
    return values, indices[0], indices[1]


def csr_tensor(structure: Structure, data: Values) -> Any:
    """Return a torch.sparse_csr tensor that shares the values where they are torch's."""
    torch = interop.import_torch()
    values = interop.torch_values(data)
    offsets, columns = (
        interop.index_view(index, like=values) for index in (structure.indptr, structure.indices)
    )
    with warnings.catch_warnings():
        # Torch says once per process that its CSR layout is in beta; the user asked for it by name.
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            offsets, columns, values, size=structure.shape, check_invariants=False
        )


def coo_tensor(shape: tuple[int, int], data: Values, row: Any, col: Any) -> Any:
    """Return a torch.sparse_coo tensor in the order given, not coalesced."""
    torch, values = interop.import_torch(), interop.torch_values(data)
    indices = torch.stack([interop.index_view(index, like=values) for index in (row, col)])
    return torch.sparse_coo_tensor(indices, values, size=shape, check_invariants=False)
