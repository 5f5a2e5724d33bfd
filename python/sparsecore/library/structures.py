"""From an operator's tensors to the validated structure that the kernels read.

A structure is validated when tensors are first seen, and kept for as long as their storages live
and nothing edits them: a compiled graph hands over the same buffers in each call. An entry holds
weak references to the storages, which keep their identities from being given to others.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from sparsecore import _core, interop
from sparsecore.cuda.structure import DeviceStructure
from sparsecore.formats import CSR, arguments
from sparsecore.formats.sparse24 import metadata_bytes
from sparsecore.interop import Int64, Values
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


def sparse24(metadata: Tensor, shape: list[int]) -> _core.Sparse24Structure:
    """Return the structure of 2:4 metadata; raises as `sparsecore.Sparse24`."""
    structure: _core.Sparse24Structure = _kept((metadata,), shape, _sparse24)
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


# ---- 2:4 as CSR ----


@dataclass(frozen=True, slots=True)
class Slots:
    """A 2:4 matrix as CSR, slots that hold zeros included.

    `inside` are the slots that do not lie in padding, in the order of the CSR's entries.
    """

    structure: _core.CsrStructure
    inside: Tensor
    shape: tuple[int, int]

    def entries(self, values: Values) -> Values:
        """Return the values of the CSR."""
        flat = values.reshape(-1)
        if not isinstance(flat, Tensor):
            return flat[self.inside.numpy()]
        return flat.index_select(0, self.inside)

    def slots(self, d: Tensor) -> Tensor:
        """Put one number per CSR entry at its slot; zero at the slots that lie in padding."""
        m, per_row = self.shape
        full = d.new_zeros(m * per_row)
        return full.index_copy(0, self.inside, d).reshape(self.shape)


_slots: "WeakKeyDictionary[_core.Sparse24Structure, Slots]" = WeakKeyDictionary()


def slots_of(structure: _core.Sparse24Structure) -> Slots:
    """Return a 2:4 structure as CSR; made once, at its first transposed product or gradient."""
    found = _slots.get(structure)
    if found is None:
        found = _slots[structure] = _slots_as_csr(structure)
    return found


def _slots_as_csr(structure: _core.Sparse24Structure) -> Slots:
    k = structure.shape[1]
    slots: Int64 = structure.column_ids()
    inside = np.flatnonzero(slots.reshape(-1) < k)
    indptr = np.concatenate([[0], np.cumsum((slots < k).sum(axis=1))]).astype(np.int64)
    columns = np.ascontiguousarray(slots.reshape(-1)[inside])
    sizes = (structure.shape[0], k)
    made = _core.csr_from_arrays(indptr, columns, sizes, "error", None, 1)[0]
    with torch.inference_mode(mode=False):  # kept for calls that autograd may follow
        return Slots(made, torch.from_numpy(inside), (slots.shape[0], slots.shape[1]))
