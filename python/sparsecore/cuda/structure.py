"""The structure of a CSR matrix in the memory of a CUDA device."""

from typing import Any, final

import numpy as np

from sparsecore import _core, interop
from sparsecore.interop import Array


@final
class DeviceStructure:
    """What `_core.CsrStructure` is on the host: a validated pattern, immutable."""

    __slots__ = ("__weakref__", "_transposed", "csr")

    def __init__(self, csr: _core.DeviceCsr) -> None:
        self.csr = csr
        self._transposed: tuple[DeviceStructure, Any] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.csr.shape

    @property
    def nnz(self) -> int:
        """Number of stored entries."""
        return self.csr.nnz

    @property
    def indptr(self) -> Any:
        """(m + 1,) row offsets, in stored width."""
        return self.csr.indptr

    @property
    def indices(self) -> Any:
        """(nnz,) columns, in stored width."""
        return self.csr.indices

    @property
    def device(self) -> Any:
        """The torch.device."""
        return self.indptr.device

    @property
    def nbytes(self) -> int:
        """Bytes of row offsets and columns."""
        return int(self.indptr.nbytes + self.indices.nbytes)

    def transposed(self) -> "tuple[DeviceStructure, Any]":
        """Return the transpose, and the (nnz,) int64 positions that its values come from."""
        if self._transposed is None:
            made, order, _, _ = _host(self).transpose(None, 1)
            order = np.arange(self.nnz) if order is None else order
            moved = interop.as_tensor(order, device=self.device)
            self._transposed = adopted(made, self.device), moved
        return self._transposed


def adopted(structure: _core.CsrStructure, device: Any) -> DeviceStructure:
    """Return a copy of a host's structure on a device."""

    def moved(index: Array) -> Any:
        return interop.import_torch().from_numpy(index.copy()).to(device)

    csr = _core.device_csr_adopted(
        structure.shape, moved(structure.indptr), moved(structure.indices)
    )
    return DeviceStructure(csr)


def _host(structure: DeviceStructure) -> _core.CsrStructure:
    offsets, columns = (
        interop.to_host(index).astype(np.int64) for index in (structure.indptr, structure.indices)
    )
    return _core.csr_from_arrays(offsets, columns, structure.shape, "error", None, 1)[0]
