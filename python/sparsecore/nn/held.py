"""From a sparse layer's tensors to the matrix that the kernels run.

Kernels read a private, validated copy of the structure (`sparsecore.CSR`, `sparsecore.Sparse24`),
so that no edit of a buffer can make them read outside their arrays. It is made, and validated,
again when a buffer changed. The values are not copied: the kernels read the Parameter itself.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from torch import Tensor

from sparsecore.formats import CSR, Sparse24

Matrix = TypeVar("Matrix", CSR, Sparse24)


class Held(Generic[Matrix]):
    """A matrix and the state of the tensors it was made of."""

    __slots__ = ("_aliases", "_buffers", "_count", "_is_cpu", "_values", "matrix")

    def __init__(self, matrix: Matrix, values: Tensor, buffers: tuple[Tensor, ...]) -> None:
        self.matrix: Matrix = matrix
        self._values, self._count, self._is_cpu = values, values.numel(), values.is_cpu
        self._buffers = [(b, b.data_ptr(), b.numel(), b.dtype, _version(b)) for b in buffers]
        # Keep the storages alive, so that none that `.data` brings later can have their addresses.
        self._aliases = [buffer.detach() for buffer in buffers]

    def is_of(self, values: Tensor, buffers: tuple[Tensor, ...]) -> bool:
        """Whether the matrix was made of these tensors as they are now.

        The values are read where they lie, so of them only the number counts, and whether they are
        on the CPU. (Buffers that are moved are other tensors.)
        """
        # Runs in each forward, where shape and strides would cost another microsecond. What this
        # does not see, a view of the same storage put in through `.data`, leaves the old matrix.
        if values is not self._values or values.numel() != self._count:
            return False
        if values.is_cpu is not self._is_cpu:
            return False
        for buffer, (kept, address, count, dtype, version) in zip(
            buffers, self._buffers, strict=True
        ):
            if buffer is not kept or buffer.data_ptr() != address or buffer.numel() != count:
                return False
            if buffer.dtype is not dtype or (version is not None and buffer._version != version):
                return False
        return True


def refreshed(
    held: Held[Matrix] | None, build: Callable[..., Matrix], values: Tensor, *buffers: Tensor
) -> Held[Matrix]:
    """Return `held` if it is of these tensors as they are now, else build the matrix again."""
    if held is not None and held.is_of(values, buffers):
        return held
    return Held(build(values, *buffers), values, buffers)


def _version(tensor: Tensor) -> int | None:
    # Tensors made under inference_mode have no counter: edits of them are not noticed.
    return None if tensor.is_inference() else tensor._version
