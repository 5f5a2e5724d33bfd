"""Products of matrices on a CUDA device, as the core has them for the host: with the same errors.

Nothing here waits for the device, with one exception: the first int8 product of a matrix that could
have a row too long for int32 asks for its longest one.
"""

from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from sparsecore import _core, dense, interop
from sparsecore.cuda import operands
from sparsecore.cuda.current import current
from sparsecore.cuda.plan import DevicePlan
from sparsecore.cuda.structure import DeviceStructure
from sparsecore.cuda.structure24 import DeviceSparse24
from sparsecore.interop import Values

# So many products of two int8 numbers, -128 times -128 at most, always fit int32.
LONGEST_INT8_ROW = (2**31 - 1) // 128**2

# From A's structure and values to those of A.T.
Transpose = Callable[[], tuple[DeviceStructure, Any]]


class _Options(NamedTuple):
    """What follows `name`: as the core's products have it."""

    transposed: bool = False
    by_rows: bool = False
    scale: Values = None
    bias: Values = None
    residual: Values = None
    activation: str | None = None


class _Matrix(NamedTuple):
    """A matrix as a product reads it: CSR by a kernel that is named or not, in strips; or 2:4."""

    structure: DeviceStructure | DeviceSparse24
    values: Any
    transpose: Transpose | None = None  # of CSR
    kernel: str = ""
    strips: "_core.DeviceStrips | None" = None


def csr_matmul(
    structure: DeviceStructure,
    values: Any,
    X: Values,
    out: Values,
    threads: int | None,
    name: str,
    *options: Any,
) -> Any:
    """Multiply as `_core.csr_matmul`; `threads` says nothing here.

    Parameters
    ----------
    structure : DeviceStructure, (m, k)
    values : (nnz,) tensor on its device
    X, out, name, *options
        As in `_core.csr_matmul`, in its order; tensors are on the same device.

    Returns
    -------
    tensor
        `out`, or a new one in the memory order of X.

    Raises
    ------
    TypeError
        Where one is not a strided tensor of the device; both are named.
    OverflowError
        Where int8 meets int8 and a row (of A.T, if that is meant) has more than `LONGEST_INT8_ROW`
        entries, so that a sum might not fit int32. (To look at every sum would wait for the
        device.)
    ValueError, TypeError
        As the host's products.
    """
    del threads

    def transpose() -> tuple[DeviceStructure, Any]:
        turned, order = structure.transposed()
        return turned, values.index_select(0, order)

    matrix = _Matrix(structure, values, transpose)
    return _multiplied(matrix, X, out, name, _Options(*options))


def plan_matmul(
    plan: DevicePlan, X: Values, out: Values, threads: int | None, name: str, *options: Any
) -> Any:
    """Multiply as `_core.plan_matmul`; parameters and errors as in `csr_matmul`."""
    del threads
    given = _Options(*options)
    if plan.strips is not None and X.dtype == plan.dtype and not given.transposed:
        plan.lend()
        packed = _Matrix(plan.structure, plan.no_values, plan.transposed, strips=plan.strips)
        return _multiplied(packed, X, out, name, given)
    matrix = _Matrix(plan.structure, plan.values, plan.transposed, kernel=plan.kernel)
    return _multiplied(matrix, X, out, name, given)


def sparse24_matmul(
    structure: DeviceSparse24,
    values: Any,
    X: Values,
    out: Values,
    threads: int | None,
    name: str,
    *options: Any,
) -> Any:
    """Multiply as `_core.sparse24_matmul`, not transposed; arguments and errors as `csr_matmul`."""
    del threads
    return _multiplied(_Matrix(structure, values), X, out, name, _Options(*options))


def csr_sddmm(structure: DeviceStructure, U: Values, V: Values) -> Any:
    """Return ``U @ V.T`` at the positions of a structure, as `_core.csr_sddmm`.

    Raises
    ------
    TypeError
        Where U or V is not a strided tensor of the structure's device; both are named.
    OverflowError
        Where they are int8 with more than `LONGEST_INT8_ROW` columns.
    ValueError, TypeError
        As the host's.
    """
    torch = interop.import_torch()
    for what, operand in (("U", U), ("V", V)):
        operands.require_place(operand, structure.device, "csr_sddmm", what)
    is_int8 = U.dtype == V.dtype == torch.int8
    if is_int8 and U.ndim == 2 and U.shape[1] > LONGEST_INT8_ROW:
        error = _overflow("csr_sddmm", "U", f"{U.shape[1]} columns")
        raise error
    d = U.new_empty(structure.nnz, dtype=torch.int32 if is_int8 else U.dtype)
    with current(d) as (allocate, stream):
        _core.device_csr_sddmm(structure.csr, U, V, d, allocate, stream)
    return d


def _multiplied(matrix: _Matrix, X: Values, out: Values, name: str, given: _Options) -> Any:
    structure, values = matrix.structure, matrix.values
    operands.require_place(X, structure.device, name, "x" if given.by_rows else "X")
    for what, operand in (
        ("scale", given.scale),
        ("bias", given.bias),
        ("residual", given.residual),
        ("out", out),
    ):
        if operand is not None:
            operands.require_place(operand, structure.device, name, what)
    rows, columns = structure.shape[::-1] if given.transposed else structure.shape
    if given.by_rows:
        operands.require_layer(X, rows, columns, given.residual, out, name)
    else:
        operands.require_axes(X, out, name)
    torch = interop.import_torch()
    is_int8 = values.dtype == X.dtype == torch.int8
    if is_int8:
        turned = matrix.transpose if given.transposed else None
        _require_short_rows(structure if turned is None else turned()[0], name)
    y = _result(X, rows, torch.int32 if is_int8 else X.dtype, given) if out is None else out
    written = _as_columns(y, given)
    _run(matrix, _as_columns(X, given), written, name, given)
    if written.data_ptr() != y.data_ptr():  # no strides say that `out` consists of rows
        y.copy_(written.t().reshape(y.shape))
    return y


def _run(matrix: _Matrix, X: Any, out: Any, name: str, given: _Options) -> None:
    residual = None if given.residual is None else _as_columns(given.residual, given)
    epilogue = (given.scale, given.bias, residual, given.activation)
    structure = matrix.structure
    with current(matrix.values) as (allocate, stream):
        if isinstance(structure, DeviceSparse24):
            slots = matrix.values.contiguous().view(-1)
            places = structure.metadata.view(-1), structure.shape
            _core.device_sparse24_matmul(*places, slots, X, out, name, *epilogue, allocate, stream)
            return
        csr = structure.csr
        if matrix.strips is not None:
            matrix.strips.matmul(csr, X, out, name, *epilogue, allocate, stream)
            return
        turned = matrix.transpose if given.transposed else None
        transposed = None if turned is None else (lambda: _core_parts(*turned()))
        values, kernel = matrix.values.contiguous(), matrix.kernel
        _core.device_csr_matmul(
            csr, values, X, out, name, transposed, *epilogue, kernel, allocate, stream
        )


def _core_parts(structure: DeviceStructure, values: Any) -> "tuple[_core.DeviceCsr, Any]":
    return structure.csr, values


def _result(X: Any, rows: int, dtype: Any, given: _Options) -> Any:
    """Return a new result, uninitialised, in the memory order of X."""
    shape = [*X.shape[:-1], rows] if given.by_rows else [rows, *X.shape[1:]]
    return dense.ordered_like(X, shape, dtype)


def _as_columns(x: Any, given: _Options) -> Any:
    """Return an operand as the core takes it; a layer's, (..., k), with a column for each row.

    A view where strides allow.
    """
    if not given.by_rows or x.ndim < 2:
        return x
    return dense.flattened(x).t()


# ---- sums of int8 products ----

_longest_rows: "WeakKeyDictionary[DeviceStructure, int]" = WeakKeyDictionary()


def _require_short_rows(structure: DeviceStructure | DeviceSparse24, name: str) -> None:
    """Raise where a row is so long that a sum of int8 products might not fit int32."""
    if min(structure.nnz, structure.shape[1]) <= LONGEST_INT8_ROW:
        return
    longest = _longest_row(structure)
    if longest > LONGEST_INT8_ROW:
        raise _overflow(name, "A", f"a row of {longest} entries")


def _longest_row(structure: DeviceStructure | DeviceSparse24) -> int:
    if isinstance(structure, DeviceSparse24):
        return structure.slots[1]
    longest = _longest_rows.get(structure)
    if longest is None:
        longest = int(structure.indptr.long().diff().max())
        _longest_rows[structure] = longest
    return longest


def _overflow(name: str, what: str, has: str) -> OverflowError:
    return OverflowError(
        f"{name}: {what} has {has}, on a device an int8 product takes {LONGEST_INT8_ROW} at most: "
        "a sum of more might be outside int32"
    )
