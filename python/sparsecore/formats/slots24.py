"""2:4 as CSR, slots that hold zeros included: for products with the transpose, and gradients."""

from dataclasses import dataclass
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np

from sparsecore import _core, interop
from sparsecore.cuda.structure24 import DeviceSparse24
from sparsecore.interop import Int64, Values

Structure24: TypeAlias = _core.Sparse24Structure | DeviceSparse24


@dataclass(frozen=True, slots=True)
class Slots:
    """A 2:4 matrix as CSR.

    Attributes
    ----------
    structure : _core.CsrStructure or DeviceStructure
    inside : int64 array, tensor of the structure's device, or None
        The slots that do not lie in padding, in the order of the CSR's entries; None: all.
    shape : (m, 2 * ceil(k / 4))
        The slots'.
    """

    structure: Any
    inside: Any
    shape: tuple[int, int]

    def entries(self, values: Values) -> Values:
        """Return the values of the CSR; differentiable for torch."""
        flat = values.reshape(-1)
        return flat if self.inside is None else interop.take(flat, self.inside)

    def slots(self, d: Values) -> Values:
        """Put one number per CSR entry at its slot; zero at the slots that lie in padding."""
        if self.inside is None:
            return d.reshape(self.shape)
        inside = self.inside
        if not interop.is_tensor(inside):
            inside = interop.as_tensor(inside, device=d.device)
        full = d.new_zeros(self.shape[0] * self.shape[1])
        return full.index_copy(0, inside, d).reshape(self.shape)


_slots: "WeakKeyDictionary[Structure24, Slots]" = WeakKeyDictionary()


def slots_of(structure: Structure24) -> Slots:
    """Return a 2:4 structure as CSR; made once, at its first transposed product or gradient."""
    found = _slots.get(structure)
    if found is None:
        if isinstance(structure, DeviceSparse24):
            found = _on_device(structure)
        else:
            found = _on_host(structure)
        _slots[structure] = found
    return found


def _on_host(structure: _core.Sparse24Structure) -> Slots:
    m, k = structure.shape
    columns: Int64 = structure.column_ids()
    is_inside = columns < k
    inside = None if k % 4 == 0 else np.flatnonzero(is_inside)
    indptr = np.concatenate([[0], np.cumsum(is_inside.sum(axis=1))]).astype(np.int64)
    made = _core.csr_from_arrays(
        indptr, np.ascontiguousarray(columns[is_inside]), (m, k), "error", None, 1
    )
    return Slots(made[0], inside, (columns.shape[0], columns.shape[1]))


def _on_device(structure: DeviceSparse24) -> Slots:
    from sparsecore.cuda import construct

    torch = interop.import_torch()
    m, k = structure.shape
    with torch.inference_mode(mode=False):  # kept for calls that autograd may follow
        columns = structure.column_ids()
        is_inside = columns < k
        inside = None if k % 4 == 0 else is_inside.reshape(-1).nonzero()[:, 0]
        indptr = torch.zeros(m + 1, dtype=torch.int64, device=structure.device)
        torch.cumsum(is_inside.sum(1), 0, out=indptr[1:])
        entries = columns.reshape(-1) if inside is None else columns.reshape(-1)[inside]
        made = construct.csr_from_arrays(indptr, entries, (m, k), "error", None, 1)
    return Slots(made[0], inside, structure.slots)
