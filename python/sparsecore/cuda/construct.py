"""What makes matrices on a CUDA device: `_core`'s functions of the same names, for its tensors.

Kernels find out whether something is wrong; the host, which is given copies then, says what.
"""

from typing import Any, Literal

import numpy as np

from sparsecore import _core, interop
from sparsecore.cuda.current import current
from sparsecore.cuda.structure import Canonical, DeviceStructure, as_int64, as_stored, refuse
from sparsecore.formats.storage import index_dtype

Duplicates = Literal["sum", "error"]
Shape = tuple[int, int]


def csr_from_arrays(
    indptr: Any, indices: Any, shape: Shape, duplicates: Duplicates, values: Any, threads: int
) -> Canonical:
    """Return (structure, order, starts, moved values) of CSR arrays, as the host's does.

    Parameters
    ----------
    indptr, indices : 1-D contiguous integer tensors of one device
    shape : (m, n)
    duplicates : {"sum", "error"}
    values : (nnz,) tensor or None
        None: the caller moves them, by the order and starts.
    threads : int
        The host's, where it has to say what is wrong.

    Raises
    ------
    ValueError, IndexError, OverflowError
        The host's.
    """

    def on_host(given: Any = None) -> object:
        offsets, columns = (
            _host_indices(index, f"CSR: {name}")
            for index, name in ((indptr, "indptr"), (indices, "indices"))
        )
        return _core.csr_from_arrays(offsets, columns, shape, duplicates, given, threads)

    _check_policy(duplicates)
    if len(indptr) != shape[0] + 1:
        refuse(on_host)
    with current(indptr) as now:
        found = _core.device_csr_from_arrays(indptr, indices, shape, now.allocate, now.stream)
    if found is None:
        refuse(on_host)
    csr, is_ascending = found
    structure = DeviceStructure(csr)
    if is_ascending:
        return structure, None, None, None
    position = structure.row_ids(), structure.indices
    return csr_from_triplets(*position, shape, duplicates, values, threads)


def csr_from_triplets(
    row: Any, col: Any, shape: Shape, duplicates: Duplicates, values: Any, threads: int
) -> Canonical:
    """Return (structure, order, starts, moved values) of triplets, as the host's does.

    Parameters
    ----------
    row, col : (nnz,) tensors of indices that are inside the shape
    shape, duplicates, values, threads
        As in `csr_from_arrays`.

    Raises
    ------
    ValueError, OverflowError
        The host's; and where a coordinate takes more than 63 bits.
    """
    _check_policy(duplicates)
    with current(row) as now:
        made = _core.device_csr_from_triplets(
            row, col, shape, duplicates == "sum", now.allocate, now.stream
        )
    if made is None:
        refuse(lambda: _host_triplets(row, col, shape, duplicates, None, threads))
    csr, order, starts = made[0], *map(_positions, made[1:])
    moved = _moved(values, order, starts)
    if values is not None and moved is None and starts is not None:
        refuse(lambda: _host_triplets(row, col, shape, duplicates, values, threads))
    return DeviceStructure(csr), order, starts, moved


def sum_triplets(
    row: Any, col: Any, shape: Shape, values: Any, threads: int
) -> tuple[tuple[Any, Any], Any, Any, Any]:
    """Return ((row, col), order, starts, moved values), one entry a coordinate, as the host's does.

    Raises
    ------
    OverflowError
        The host's, where int8 values sum to more.
    """
    with current(row) as now:
        made = _core.device_sum_triplets(row, col, shape, now.allocate, now.stream)
    order, starts = map(_positions, made[2:])
    moved = _moved(values, order, starts)
    if values is not None and moved is None and starts is not None:
        refuse(lambda: _host_triplets(row, col, shape, "sum", values, threads))
    position = tuple(as_stored(made[axis], _width(shape[axis])) for axis in (0, 1))
    return (position[0], position[1]), order, starts, moved


def csr_from_dense(dense: Any, threads: int) -> tuple[DeviceStructure, Any]:  # noqa: ARG001
    """Return the structure and the values of a dense tensor's non-zeros; records nothing."""
    with current(dense) as now:
        csr, values = _core.device_csr_from_dense(dense.detach(), now.allocate, now.stream)
    return DeviceStructure(csr), values.view(dense.dtype)


def narrow(indices: Any, limit: int, name: str) -> Any:
    """Return the indices, which must be in [0, limit), in the smallest width.

    Raises
    ------
    IndexError
        The host's.
    """
    with current(indices) as now:
        made = _core.device_narrow(indices, limit, now.allocate, now.stream)
    if made is None:
        refuse(lambda: _core.narrow(_host_indices(indices, name), limit, name))
    return as_stored(made, _width(limit))


def from_host(structure: _core.CsrStructure, device: Any) -> DeviceStructure:
    """Return a structure of the host in the memory of a device."""
    offsets, columns = (
        index_from_host(index, device) for index in (structure.indptr, structure.indices)
    )
    return _adopted(structure.shape, offsets, columns)


def to_device(structure: DeviceStructure, device: Any) -> DeviceStructure:
    """Return a structure of one device in the memory of another, or itself."""
    if structure.device == device:
        return structure
    indices = (index.to(device) for index in (structure.indptr, structure.indices))
    return _adopted(structure.shape, *indices)


def index_from_host(index: interop.Array, device: Any) -> Any:
    """Return stored indices of the host in the memory of a device, in the same width."""
    bits = interop.as_tensor(index.view(np.uint8)).to(device, copy=True)
    return as_stored(bits, index.itemsize)


def _adopted(shape: Shape, offsets: Any, columns: Any) -> DeviceStructure:
    with current(offsets) as now:
        return DeviceStructure(
            _core.device_csr_adopted(shape, offsets, columns, now.allocate, now.stream)
        )


def _width(count: int) -> int:
    return index_dtype(count).itemsize


def _positions(data: Any) -> Any:
    return None if data is None else as_int64(data)


def _moved(values: Any, order: Any, starts: Any) -> Any:
    """Return values in their new order, summed; None where they stay, or a sum does not fit."""
    if values is None or (order is None and starts is None):
        return None
    if starts is None:
        return values.index_select(0, order)
    from sparsecore.cuda import duplicates

    return duplicates.sum_runs(values, order, starts)


def _host_indices(indices: Any, name: str) -> interop.Int64:
    from sparsecore.formats import arguments

    host: interop.Int64 = arguments.as_indices(interop.to_host(indices), name=name)
    return host


def _host_triplets(
    row: Any, col: Any, shape: Shape, duplicates: Duplicates, values: Any, threads: int
) -> object:
    rows, cols = interop.to_host(row), interop.to_host(col)
    given = None if values is None else interop.to_host(values)
    return _core.csr_from_triplets(rows, cols, shape, duplicates, given, threads)


def _check_policy(duplicates: Duplicates) -> None:
    if duplicates not in ("sum", "error"):
        nothing = np.zeros(0, np.int64)
        refuse(lambda: _core.csr_from_triplets(nothing, nothing, (0, 0), duplicates, None, 1))
