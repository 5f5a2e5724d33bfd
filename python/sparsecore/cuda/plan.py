"""What a plan holds of a matrix on a CUDA device."""

from collections.abc import Iterator
from typing import Any, Literal, TypeAlias, final

from sparsecore import _core, interop
from sparsecore.cuda.current import current, lend, stream_of
from sparsecore.cuda.structure import DeviceStructure

DeviceKernel: TypeAlias = Literal["rows", "bitmap", "tf32", "3xtf32"]
KERNELS: tuple[str, ...] = ("rows", "bitmap", "tf32", "3xtf32")
_BITMAP_DTYPES = ("float16", "bfloat16")
# What a bitmap is made for, and from which density on it has fewer bytes than CSR: 2 a value and up
# to 152 for 1024 positions (bitmap_layout.h), against 4 an entry.
_FEW_COLUMNS = 32
_LEAST_BITMAP_DENSITY = 152 / 1024 / 2


def choose_kernel(structure: DeviceStructure, dtype: Any, columns: int) -> DeviceKernel:
    """Return the kernel for `columns` right-hand columns (negative: unknown): the fewest bytes.

    By arithmetic; no device was measured.
    """
    m, n = structure.shape
    is_short = interop.numpy_dtype(dtype).name in _BITMAP_DTYPES
    is_dense = structure.nnz >= _LEAST_BITMAP_DENSITY * m * n
    few = 0 <= columns <= _FEW_COLUMNS
    return "bitmap" if is_short and is_dense and few and structure.nnz else "rows"


@final
class DevicePlan:
    """What `_core.Plan` is on the host.

    Parameters
    ----------
    structure : DeviceStructure
        Shared.
    values : (nnz,) tensor on its device
        Copied, into a bitmap in the order of matrix fragments where the kernel is "bitmap".
    backward : bool
        Whether the values of the transpose are kept as well, for products with it.
    kernel : {"rows", "bitmap", "tf32", "3xtf32"}
        What X of the values' dtype are multiplied by; all else goes by rows.

    Raises
    ------
    TypeError
        Where the kernel is not for the values' dtype.
    """

    __slots__ = (
        *("__weakref__", "_backward", "_made_on", "_transposed", "_values"),
        *("bitmap", "dtype", "kernel", "no_values", "structure"),
    )

    keeps_structure = True

    def __init__(
        self, structure: DeviceStructure, values: Any, *, backward: bool, kernel: DeviceKernel
    ) -> None:
        name = interop.numpy_dtype(values.dtype).name
        allowed = _BITMAP_DTYPES if kernel == "bitmap" else ("float32",)
        if kernel != "rows" and name not in allowed:
            msg = f"prepare: A is {name}, expected {' or '.join(allowed)} for kernel {kernel!r}"
            raise TypeError(msg)
        self.structure, self.kernel, self._backward = structure, kernel, backward
        self.dtype, self.no_values = values.dtype, values.detach()[:0].clone()
        self.bitmap: _core.DeviceBitmap | None = None
        self._take(values)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.structure.shape

    @property
    def nnz(self) -> int:
        """Number of stored entries."""
        return self.structure.nnz

    @property
    def values(self) -> Any:
        """(nnz,) values in CSR order; of a bitmap a copy."""
        self.lend()
        return self._values if self.bitmap is None else self.unpack()

    @property
    def nbytes(self) -> int:
        """Bytes of the values or the bitmap, and of the transpose where there is one."""
        held = int(self._values.nbytes) if self.bitmap is None else self.bitmap.nbytes
        if self._transposed is not None:
            turned, order = self.structure.transposed()
            held += int(self._transposed.nbytes + turned.nbytes + order.nbytes)
        return held

    def update(self, values: Any) -> None:
        """Replace the values, by copies of (nnz,) others in CSR order."""
        self._take(values)

    def lend(self) -> None:
        """Let the current stream read what this plan holds, though it may be replaced meanwhile."""

        def held() -> Iterator[Any]:
            yield self._values
            if self._transposed is not None:
                yield self._transposed
            if self.bitmap is not None:
                yield from self.bitmap.tensors

        lend(held, self._made_on, self.structure.device)

    def unpack(self) -> Any:
        """Return the values in CSR order, in memory of their own."""
        self.lend()
        if self.bitmap is None:
            return self._values.clone()
        values = self.no_values.new_empty(self.nnz)
        with current(values) as (allocate, stream):
            self.bitmap.unpack(self.structure.csr, values, allocate, stream)
        return values

    def transposed(self) -> tuple[DeviceStructure, Any]:
        """Return the structure of the transpose, and its values."""
        turned, order = self.structure.transposed()
        packed = self._transposed
        self.lend()
        return turned, self.values.index_select(0, order) if packed is None else packed

    def _take(self, values: Any) -> None:
        # Not those of before, overwritten: products of another stream may still read them.
        given = values.detach()
        if self.bitmap is not None:
            self.lend()  # its pattern stays, of the stream that it was made on
        self._made_on = stream_of(given.device)
        csr = self.structure.csr
        if self.kernel != "bitmap":
            self._values = given.clone().contiguous()
        else:
            given = given.contiguous()
            with current(given) as (allocate, stream):
                self.bitmap = (
                    _core.DeviceBitmap(csr, given, allocate, stream)
                    if self.bitmap is None
                    else self.bitmap.with_values(csr, given, allocate, stream)
                )
            self._values = self.no_values
        self._transposed = None
        if self._backward:
            _, order = self.structure.transposed()
            self._transposed = given.index_select(0, order)
