"""From a sparse layer's tensors to the matrix that the kernels run.

Kernels read a private, validated copy of the structure (`sparsecore.CSR`, `sparsecore.Sparse24`),
so that no edit of a buffer can make them read outside their arrays. It is made, and validated,
again when a buffer changed. The values are not copied: the kernels read the Parameter itself.
"""

from collections.abc import Callable
from typing import Generic, TypeAlias, TypeVar

from torch import Tensor

from sparsecore.formats import CSR, Sparse24

Matrix = TypeVar("Matrix", CSR, Sparse24)

_Stamp: TypeAlias = tuple[object, ...]


class Held(Generic[Matrix]):
    """A matrix and the state of the tensors it was made of."""

    __slots__ = ("_aliases", "_stamp", "matrix")

    def __init__(self, matrix: Matrix, tensors: tuple[Tensor, ...], stamp: _Stamp) -> None:
        self.matrix: Matrix = matrix
        self._stamp = stamp
        # Keeps the storages of the stamp alive, so that no later tensor can have their addresses.
        self._aliases = tuple(tensor.detach() for tensor in tensors)

    def is_of(self, stamp: _Stamp) -> bool:
        """Whether the matrix was made of tensors in this state."""
        return self._stamp == stamp


def refreshed(
    held: Held[Matrix] | None, build: Callable[..., Matrix], values: Tensor, *buffers: Tensor
) -> Held[Matrix]:
    """Return `held` if it is of these tensors as they are now, else build the matrix again.

    A buffer's state is its storage, size, dtype and version counter; that of the values leaves out
    the version, as they are read where they lie.
    """
    stamp = (id(values), _place(values), *((_place(b), _version(b)) for b in buffers))
    if held is not None and held.is_of(stamp):
        return held
    return Held(build(values, *buffers), (values, *buffers), stamp)


def _place(tensor: Tensor) -> _Stamp:
    # Runs in each forward, where shape, strides and device would cost another microsecond. What
    # this does not see, a view of the same storage put in through `.data`, leaves the old matrix.
    return (tensor.data_ptr(), tensor.numel(), tensor.dtype, tensor.is_cpu)


def _version(tensor: Tensor) -> int | None:
    # Tensors made under inference_mode have no counter: edits of them are not noticed.
    return None if tensor.is_inference() else tensor._version
