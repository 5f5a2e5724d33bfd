"""What a plan holds of a matrix on a CUDA device."""

from typing import Any, Literal, final

from sparsecore.cuda.structure import DeviceStructure


@final
class DevicePlan:
    """What `_core.Plan` is on the host, by rows: the structure, which is shared, and the values.

    Parameters
    ----------
    structure : DeviceStructure
    values : (nnz,) tensor on its device
        Copied.
    backward : bool
        Whether the values of the transpose are kept as well, for products with it.
    """

    __slots__ = ("__weakref__", "_backward", "_transposed", "structure", "values")

    kernel: Literal["rows"] = "rows"
    keeps_structure = True

    def __init__(self, structure: DeviceStructure, values: Any, *, backward: bool) -> None:
        self.structure = structure
        self._backward = backward
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
    def nbytes(self) -> int:
        """Bytes of the values, and of the transpose where there is one."""
        held = int(self.values.nbytes)
        if self._transposed is not None:
            turned, order = self.structure.transposed()
            held += int(self._transposed.nbytes + turned.nbytes + order.nbytes)
        return held

    def update(self, values: Any) -> None:
        """Replace the values, by copies of (nnz,) others in CSR order."""
        self._take(values)

    def unpack(self) -> Any:
        """Return the values in CSR order, in memory of their own."""
        return self.values.clone()

    def transposed(self) -> tuple[DeviceStructure, Any]:
        """Return the structure of the transpose, and its values."""
        turned, order = self.structure.transposed()
        packed = self._transposed
        return turned, self.values.index_select(0, order) if packed is None else packed

    def _take(self, values: Any) -> None:
        # Not those of before, overwritten: products of another stream may still read them.
        self.values = values.detach().clone().contiguous()
        self._transposed = None
        if self._backward:
            self._transposed = self.transposed()[1]
