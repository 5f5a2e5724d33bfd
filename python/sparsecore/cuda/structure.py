"""The pattern of a CSR matrix in the memory of a CUDA device."""

from collections.abc import Callable
from typing import Any, NoReturn, TypeAlias, final

from sparsecore import _core, interop
from sparsecore.cuda.current import current, lend, stream_of
from sparsecore.threads import get_num_threads

# The structure, order, starts and values that a host's `_core` function of the same name returns.
Canonical: TypeAlias = tuple["DeviceStructure", Any, Any, Any]


@final
class DeviceStructure:
    """What `_core.CsrStructure` is on the host, with tensors where that has arrays.

    It is valid and canonical: whoever makes one (`sparsecore.cuda.construct`) has checked it, and
    nothing edits it. Indices have the host's widths, as torch.uint8, uint16, uint32 or int64.

    Attributes
    ----------
    csr : _core.DeviceCsr
        What kernels are given: the indices, and the pieces that long rows are split into.
    """

    __slots__ = ("__weakref__", "_csr", "_made_on", "_transposed")

    _csr: "_core.DeviceCsr"
    _made_on: int
    _transposed: "tuple[DeviceStructure, Any] | None"

    def __init__(self, csr: "_core.DeviceCsr") -> None:
        self._csr = csr
        self._made_on = stream_of(csr.indptr.device)
        self._transposed = None

    @property
    def csr(self) -> "_core.DeviceCsr":
        """What kernels are given, to be read on the current stream."""
        lend(lambda: self._csr.tensors, self._made_on, self.device)
        return self._csr

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self._csr.shape

    @property
    def nnz(self) -> int:
        """Number of entries."""
        return self._csr.nnz

    @property
    def device(self) -> Any:
        """The torch.device whose memory it lies in."""
        return self._csr.indptr.device

    @property
    def indptr(self) -> Any:
        """(m + 1,) row offsets in stored width; not to be edited."""
        return as_stored(self.csr.indptr, self._csr.indptr_width)

    @property
    def indices(self) -> Any:
        """(nnz,) columns in stored width; not to be edited."""
        return as_stored(self.csr.indices, self._csr.indices_width)

    @property
    def nbytes(self) -> int:
        """Bytes of columns and row offsets, as on the host; what else is held is not counted."""
        return int(self._csr.indptr.nbytes + self._csr.indices.nbytes)

    # ---- reading rows ----

    def row_bounds(self, row: int) -> tuple[int, int]:
        """Return where row `row`, in [0, m), begins and ends; waits for the device."""
        begin, end = interop.to_host(self.indptr[row : row + 2])
        return int(begin), int(end)

    def row_columns(self, row: int) -> Any:
        """Return the int64 columns of row `row`, in [0, m)."""
        begin, end = self.row_bounds(row)
        return self.indices[begin:end].to(interop.import_torch().int64)

    def row_ids(self) -> Any:
        """Return the (nnz,) int64 row of each entry."""
        with current(self._csr.indptr) as now:
            return as_int64(_core.device_row_ids(self.csr, now.allocate, now.stream))

    def gather_rows(self, rows: Any, values: Any, threads: int) -> Canonical:
        """Return the structure of `rows`, (r,) integers on the device, and how entries move.

        Parameters
        ----------
        rows : (r,) tensor
            Negative ones count from the end.
        values : (nnz,) tensor or None
            Moved along where given; else the order says how.
        threads : int
            The host's; of no use here.

        Raises
        ------
        IndexError
            Where one is outside; names it.
        """
        given = None if values is None else values.contiguous()
        with current(self._csr.indptr) as now:
            made = _core.device_gather_rows(self.csr, rows, given, now.allocate, now.stream)
        if made is None:
            host = self.to_host()
            refuse(lambda: host.gather_rows(interop.to_host(rows).astype("int64"), None, threads))
        csr, order, moved = made
        order = None if order is None else as_int64(order)
        moved = None if moved is None else moved.view(values.dtype)
        return DeviceStructure(csr), order, None, moved

    # ---- the transpose ----

    def transposed(self) -> "tuple[DeviceStructure, Any]":
        """Return the transpose and its order, made once; entry p of it is entry ``order[p]``."""
        if self._transposed is None:
            with current(self._csr.indptr) as now:
                csr, order = _core.device_transpose(self.csr, now.allocate, now.stream)
            self._transposed = DeviceStructure(csr), as_int64(order)
        turned, order = self._transposed
        lend(lambda: (order,), turned._made_on, self.device)
        return self._transposed

    def transpose(self, values: Any, threads: int) -> Canonical:  # noqa: ARG002
        """Return the transpose, and its values where given; else the order says how they move."""
        made, order = self.transposed()
        return made, order, None, None if values is None else values.index_select(0, order)

    # ---- all of it ----

    def to_dense(self, values: Any) -> Any:
        """Return the dense (m, n) matrix of (nnz,) values; records nothing."""
        dense = values.new_zeros(self.shape)
        with current(self._csr.indptr) as now:
            _core.device_csr_to_dense(self.csr, values.detach().contiguous(), dense, now.stream)
        return dense

    def to_host(self) -> _core.CsrStructure:
        """Return the same structure in the host's memory, validated there."""
        indptr, indices = (
            interop.to_host(index).astype("int64") for index in (self.indptr, self.indices)
        )
        return _core.csr_from_arrays(indptr, indices, self.shape, "error", None, get_num_threads())[
            0
        ]

    def check(self) -> None:
        """Validate everything again; raises as the host's constructor does."""
        with current(self._csr.indptr) as now:
            found = _core.device_csr_from_arrays(
                self.indptr, self.indices, self.shape, now.allocate, now.stream
            )
        if found is None:
            refuse(self.to_host)
        if not found[1]:
            msg = "CSR: columns of a row are not ascending"
            raise ValueError(msg)

    def equals(self, other: "DeviceStructure") -> bool:
        """Whether another structure of the same device has the same shape and positions."""
        if self.shape != other.shape or self.nnz != other.nnz:
            return False
        torch = interop.import_torch()
        pairs = (self.indptr, other.indptr), (self.indices, other.indices)
        return all(torch.equal(a.view(torch.uint8), b.view(torch.uint8)) for a, b in pairs)


def as_stored(data: Any, width: int) -> Any:
    """Return bytes of device memory as the tensor of indices of this width that they are."""
    torch = interop.import_torch()
    return data.view(torch.int64 if width == 8 else getattr(torch, f"uint{8 * width}"))


def as_int64(data: Any) -> Any:
    """Return bytes of device memory as the int64 tensor that they are."""
    return as_stored(data, 8)


def refuse(build: Callable[[], object]) -> NoReturn:
    """Raise what the host says about arrays that the device found to be wrong.

    Raises
    ------
    RuntimeError
        Where the host finds nothing: somebody has written to them in between.
    """
    build()
    msg = "the arrays were edited while a matrix was made of them"
    raise RuntimeError(msg)
