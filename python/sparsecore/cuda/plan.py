"""What a plan holds of a matrix on a CUDA device."""

import math
from collections.abc import Iterator
from typing import Any, Literal, TypeAlias, final

from sparsecore import _core, interop
from sparsecore.cuda.current import current, lend, stream_of
from sparsecore.cuda.row_work import MOST_COLUMNS, warp_instructions
from sparsecore.cuda.structure import DeviceStructure

DeviceKernel: TypeAlias = Literal["rows", "merge", "bitmap", "delta4", "delta8", "tf32", "3xtf32"]
KERNELS: tuple[str, ...] = ("rows", "merge", "bitmap", "delta4", "delta8", "tf32", "3xtf32")
# Values and where they belong in the order of matrix fragments (csrc/cuda/strip_layout.h).
_STRIPS = ("bitmap", "delta4", "delta8")
_STRIP_DTYPES = ("float16", "bfloat16")
_ANY_DTYPE = ("rows", "merge")
_FEW_COLUMNS = 32


def choose_kernel(structure: DeviceStructure, dtype: Any, columns: int) -> DeviceKernel:
    """Return the kernel for `columns` right-hand columns (negative: unknown).

    The one that reads the fewest bytes; of those that read CSR as it is, for up to eight columns,
    the one that executes the fewest instructions, which waits once for the device. By arithmetic;
    no device was measured.
    """
    if not (0 <= columns <= _FEW_COLUMNS and structure.nnz):
        return "rows"
    if interop.numpy_dtype(dtype).name in _STRIP_DTYPES:
        sizes = expected_bytes(structure.shape, structure.nnz)
        least = min(sizes, key=sizes.__getitem__)
        if least != "rows":
            return least
    if not 1 <= columns <= MOST_COLUMNS:
        return "rows"
    work = warp_instructions(structure.indptr, structure.nnz, columns)
    return "merge" if work["merge"] < work["rows"] else "rows"


def expected_bytes(shape: tuple[int, int], entries: int) -> dict[DeviceKernel, float]:
    """Return what a product reads of a 16-bit matrix whose `entries` lie at random, by kernel.

    Blocks and their parts are those of csrc/cuda/strip_layout.h; a block's last chunk of eight
    values is half empty in the mean, and has an offset of eight bytes.
    """
    m, n = shape
    strips = -(-m // 16)

    def of_deltas(bits: int) -> float:
        # Steps between entries are geometric; one of `skip` or more takes a slot for each `skip`.
        skip = 2**bits - 1
        density = entries / (m * n)
        longer = math.pow(1 - density, skip - 1) / (1 - math.pow(1 - density, skip))
        slots = entries * (1 + longer)
        return (2 + bits / 8) * slots + strips * -(-n // 128) * (8 + 3.5 * (2 + bits / 8))

    index = 1 if n <= 1 << 8 else 2 if n <= 1 << 16 else 4
    return {
        "bitmap": 2 * entries + strips * -(-n // 64) * (128 + 8 + 7),
        "delta4": of_deltas(4),
        "delta8": of_deltas(8),
        "rows": (2 + index) * entries,
    }


@final
class DevicePlan:
    """What `_core.Plan` is on the host.

    Parameters
    ----------
    structure : DeviceStructure
        Shared.
    values : (nnz,) tensor on its device
        Copied; for "bitmap", "delta4" and "delta8" in the order of matrix fragments.
    backward : bool
        Whether the values of the transpose are kept as well, for products with it.
    kernel : {"rows", "merge", "bitmap", "delta4", "delta8", "tf32", "3xtf32"}
        What X of the values' dtype are multiplied by, with "merge" X of any dtype and up to eight
        columns; all else goes by rows.

    Raises
    ------
    TypeError
        Where the kernel is not for the values' dtype.
    """

    __slots__ = (
        *("__weakref__", "_backward", "_made_on", "_transposed", "_values"),
        *("dtype", "kernel", "no_values", "strips", "structure"),
    )

    keeps_structure = True

    def __init__(
        self, structure: DeviceStructure, values: Any, *, backward: bool, kernel: DeviceKernel
    ) -> None:
        name = interop.numpy_dtype(values.dtype).name
        allowed = _STRIP_DTYPES if kernel in _STRIPS else ("float32",)
        if kernel not in _ANY_DTYPE and name not in allowed:
            msg = f"prepare: A is {name}, expected {' or '.join(allowed)} for kernel {kernel!r}"
            raise TypeError(msg)
        self.structure, self.kernel, self._backward = structure, kernel, backward
        self.dtype, self.no_values = values.dtype, values.detach()[:0].clone()
        self.strips: _core.DeviceStrips | None = None
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
        """(nnz,) values in CSR order; of strips a copy."""
        self.lend()
        return self._values if self.strips is None else self.unpack()

    @property
    def nbytes(self) -> int:
        """Bytes of the values or the strips, and of the transpose where there is one."""
        held = int(self._values.nbytes) if self.strips is None else self.strips.nbytes
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
            if self.strips is not None:
                yield from self.strips.tensors

        lend(held, self._made_on, self.structure.device)

    def unpack(self) -> Any:
        """Return the values in CSR order, in memory of their own."""
        self.lend()
        if self.strips is None:
            return self._values.clone()
        values = self.no_values.new_empty(self.nnz)
        with current(values) as (allocate, stream):
            self.strips.unpack(self.structure.csr, values, allocate, stream)
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
        if self.strips is not None:
            self.lend()  # its pattern stays, of the stream that it was made on
        self._made_on = stream_of(given.device)
        csr = self.structure.csr
        if self.kernel not in _STRIPS:
            self._values = given.clone().contiguous()
        else:
            given = given.contiguous()
            with current(given) as (allocate, stream):
                self.strips = (
                    _core.DeviceStrips(csr, given, self.kernel, allocate, stream)
                    if self.strips is None
                    else self.strips.with_values(csr, given, allocate, stream)
                )
            self._values = self.no_values
        self._transposed = None
        if self._backward:
            _, order = self.structure.transposed()
            self._transposed = given.index_select(0, order)
