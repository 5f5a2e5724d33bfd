"""2:4 in the memory of a CUDA device: column positions, and what makes them of dense tensors."""

from typing import Any, final

from sparsecore import _core, interop
from sparsecore.cuda.current import current, lend, stream_of
from sparsecore.cuda.structure import as_int64, refuse
from sparsecore.threads import get_num_threads

Shape = tuple[int, int]


@final
class DeviceSparse24:
    """What `_core.Sparse24Structure` is on the host, with tensors where that has arrays.

    It is valid: whoever makes one has checked it, and nothing edits it.

    Parameters
    ----------
    metadata : (m, ceil(k / 8)) uint8 tensor
        Contiguous; not to be edited.
    shape : (m, k)

    Attributes
    ----------
    kept : dict
        Other forms of the matrix, of `sparsecore.cuda.kernels24`.
    failed : set
        Kernels that have failed.
    kernel : str
        What the last product ran; empty before the first.
    """

    __slots__ = ("__weakref__", "_made_on", "_metadata", "failed", "kept", "kernel", "shape")

    def __init__(self, metadata: Any, shape: Shape) -> None:
        self._metadata = metadata
        self._made_on = stream_of(metadata.device)
        self.shape = shape
        self.kept: dict[str, Any] = {}
        self.failed: set[str] = set()
        self.kernel = ""

    @property
    def metadata(self) -> Any:
        """(m, ceil(k / 8)) uint8, to be read on the current stream."""
        lend(lambda: (self._metadata,), self._made_on, self.device)
        return self._metadata

    @property
    def slots(self) -> Shape:
        """The shape of the values: (m, 2 * ceil(k / 4))."""
        return self.shape[0], -(-self.shape[1] // 4) * 2

    @property
    def nnz(self) -> int:
        """Number of slots, those past the last column included."""
        return self.slots[0] * self.slots[1]

    @property
    def device(self) -> Any:
        """The torch.device whose memory it lies in."""
        return self._metadata.device

    def column_ids(self) -> Any:
        """Return the (m, 2 * ceil(k / 4)) int64 columns of the slots; some may be past the last."""
        with current(self.metadata) as (allocate, stream):
            ids = _core.device_sparse24_columns(self._bytes, self.shape, allocate, stream)
        return as_int64(ids).view(self.slots)

    def to_dense(self, values: Any) -> Any:
        """Return the dense (m, k) matrix of values in the shape of `slots`; records nothing."""
        dense = values.new_empty(self.shape)
        flat = values.detach().contiguous().view(-1)
        with current(values) as (_, stream):
            _core.device_sparse24_to_dense(self._bytes, self.shape, flat, dense, stream)
        return dense

    def to_host(self) -> _core.Sparse24Structure:
        """Return the same structure in the host's memory, validated there."""
        return _core.Sparse24Structure(interop.to_host(self.metadata), self.shape)

    def equals(self, other: "DeviceSparse24") -> bool:
        """Whether another structure of the same device has the same shape and positions."""
        torch = interop.import_torch()
        return self.shape == other.shape and bool(torch.equal(self.metadata, other.metadata))

    @property
    def _bytes(self) -> Any:
        return self.metadata.view(-1)


def checked(metadata: Any, shape: Shape, values: Any) -> DeviceSparse24 | None:
    """Return the structure of a copy of metadata and values that fit the shape.

    None where a nibble does not ascend, or a slot past the last column does not hold 0. Waits for
    the device.
    """
    copy = metadata.clone().contiguous()
    flat = values.detach().contiguous().view(-1)
    with current(copy) as (allocate, stream):
        is_valid = _core.device_sparse24_is_valid(copy.view(-1), shape, flat, allocate, stream)
    return DeviceSparse24(copy, shape) if is_valid else None


def compress_24(dense: Any, prune: bool) -> tuple[DeviceSparse24, Any]:
    """Return the structure and the values of a dense (m, k) tensor; records nothing.

    With `prune`, of its two largest magnitudes of four; without, it waits for the device.

    Raises
    ------
    ValueError
        The host's, where it is not 2:4.
    """
    given = dense.detach()
    with current(given) as (allocate, stream):
        made = _core.device_compress_24(given, prune, allocate, stream)
    if made is None:
        refuse(lambda: _core.compress_24(interop.to_host(given), prune, get_num_threads()))
    m, k = given.shape
    structure = DeviceSparse24(made[1].view(m, -(-k // 8)), (m, k))
    return structure, made[0].view(given.dtype).view(structure.slots)


def prune_24(dense: Any) -> Any:
    """Return the bool mask of the two largest magnitudes of four of a dense (m, k) tensor."""
    torch = interop.import_torch()
    mask = torch.empty(dense.shape, dtype=torch.bool, device=dense.device)
    with current(mask) as (allocate, stream):
        _core.device_prune_24(dense.detach(), mask.view(-1), allocate, stream)
    return mask


def from_host(structure: _core.Sparse24Structure, device: Any) -> DeviceSparse24:
    """Return a structure of the host in the memory of a device."""
    metadata = interop.as_tensor(structure.metadata).to(device, copy=True)
    return DeviceSparse24(metadata, structure.shape)


def to_device(structure: DeviceSparse24, device: Any) -> DeviceSparse24:
    """Return a structure of one device in the memory of another, or itself."""
    if structure.device == device:
        return structure
    return DeviceSparse24(structure.metadata.to(device), structure.shape)
