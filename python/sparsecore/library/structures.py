"""From an operator's tensors to the validated structure that the kernels read.

A structure is validated when tensors are first seen, and kept for as long as their storages live
and nothing edits them: a compiled graph hands over the same buffers in each call. An entry holds
weak references to the storages, which keep their identities from being given to others.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from sparsecore import _core, interop
from sparsecore.cuda.structure import DeviceStructure
from sparsecore.cuda.structure24 import DeviceSparse24
from sparsecore.formats import CSR, Sparse24, arguments
from sparsecore.formats.slots24 import Structure24
from sparsecore.formats.sparse24 import metadata_bytes
from sparsecore.threads import get_num_threads

Key: TypeAlias = tuple[object, ...]
_SPARE = 16  # how many entries beyond twice the living ones are kept until the dead are swept


@dataclass(frozen=True, slots=True)
class _Entry:
    structure: Any
    versions: Key
    storages: tuple[Any, ...]


_weak: Any = StorageWeakRef  # which has no types
_entries: dict[Key, _Entry] = {}
_sweep_at = _SPARE


def csr(indices: Tensor, indptr: Tensor, shape: list[int]) -> _core.CsrStructure | DeviceStructure:
    """Return the structure of columns and row offsets, on their device.

    Raises
    ------
    TypeError, ValueError, IndexError
        As `sparsecore.CSR`; and where columns of a row are not ascending.
    """
    build = _csr_on_device if interop.on_device(indices) else _csr
    structure: _core.CsrStructure | DeviceStructure = _kept((indices, indptr), shape, build)
    return structure


def sparse24(metadata: Tensor, shape: list[int]) -> Structure24:
    """Return the structure of 2:4 metadata, on their device; raises as `sparsecore.Sparse24`."""
    build = _sparse24_on_device if interop.on_device(metadata) else _sparse24
    structure: Structure24 = _kept((metadata,), shape, build)
    return structure


def _csr(tensors: tuple[Tensor, ...], shape: list[int]) -> _core.CsrStructure:
    columns = arguments.as_indices(tensors[0], name="csr_matmul: indices")
    offsets = arguments.as_indices(tensors[1], name="csr_matmul: indptr")
    sizes = arguments.as_shape(shape, name="csr_matmul")
    structure, order, _, _ = _core.csr_from_arrays(
        offsets, columns, sizes, "error", None, get_num_threads()
    )
    if order is not None:
        raise _unsorted()
    return structure


def _csr_on_device(tensors: tuple[Tensor, ...], shape: list[int]) -> DeviceStructure:
    indices, indptr = tensors
    values = torch.empty(indices.shape, dtype=torch.int8, device=indices.device)
    matrix = CSR((values, indices, indptr), shape)
    if matrix.data is not values:  # which were sorted
        raise _unsorted()
    assert isinstance(matrix._structure, DeviceStructure)
    return matrix._structure


def _unsorted() -> ValueError:
    return ValueError("csr_matmul: the columns of a row in indices are not ascending")


def _sparse24(tensors: tuple[Tensor, ...], shape: list[int]) -> _core.Sparse24Structure:
    m, k = arguments.as_shape(shape, name="sparse24_matmul")
    return _core.Sparse24Structure(metadata_bytes(tensors[0], (m, -(-k // 8))), (m, k))


def _sparse24_on_device(tensors: tuple[Tensor, ...], shape: list[int]) -> DeviceSparse24:
    m, k = arguments.as_shape(shape, name="sparse24_matmul")
    values = torch.zeros((m, -(-k // 4) * 2), dtype=torch.int8, device=tensors[0].device)
    matrix = Sparse24((values, tensors[0]), (m, k))
    assert isinstance(matrix._structure, DeviceSparse24)
    return matrix._structure


def _kept(tensors: tuple[Tensor, ...], shape: list[int], build: Any) -> Any:
    key = (*map(_place, tensors), *shape)
    versions = tuple(map(_version, tensors))
    entry = _entries.get(key)
    if entry is not None and entry.versions == versions:
        return entry.structure
    structure = build(tensors, shape)
    storages = tuple(_weak(t.untyped_storage()) for t in tensors)
    _entries[key] = _Entry(structure, versions, storages)
    if len(_entries) > _sweep_at:
        _sweep()
    return structure


def _place(tensor: Tensor) -> Key:
    storage = tensor.untyped_storage()._cdata
    return (storage, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)


def _version(tensor: Tensor) -> int | None:
    # Tensors made under inference_mode have no counter: edits of them are not noticed.
    return None if tensor.is_inference() else tensor._version


def _sweep() -> None:
    """Forget the structures of storages that are gone."""
    global _sweep_at
    for key, entry in list(_entries.items()):
        if any(storage.expired() for storage in entry.storages):
            _entries.pop(key, None)
    _sweep_at = 2 * len(_entries) + _SPARE


def narrowed(indices: Tensor) -> Tensor:
    """Return non-negative integers in the narrowest signed dtype that holds them."""
    largest = int(indices.max()) if indices.numel() else 0
    signed = (torch.int8, torch.int16, torch.int32, torch.int64)
    return indices.to(next(dtype for dtype in signed if largest <= torch.iinfo(dtype).max))
