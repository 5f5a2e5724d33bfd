"""What the sparse modules share: from a module's tensors to the matrix that the kernels run.

Kernels read a private, validated copy of the structure (`sparsecore.CSR`, `sparsecore.Sparse24`),
so that no edit of a buffer can make them read outside their arrays. It is made, and validated,
again when a buffer changed. The values are not copied: the kernels read the Parameter itself.
"""

from collections.abc import Callable, Iterable
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from sparsecore.formats import CSR, Sparse24

Matrix = TypeVar("Matrix", CSR, Sparse24)

_Stamp: TypeAlias = tuple[object, ...]
_SIGNED = (torch.int8, torch.int16, torch.int32, torch.int64)


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


class SparseLinear(Protocol[Matrix]):
    """What the functions below need of a module."""

    in_features: int
    out_features: int
    values: nn.Parameter
    bias: nn.Parameter | None
    training: bool
    _held: Held[Matrix] | None


def refreshed(
    held: Held[Matrix] | None,
    build: Callable[..., Matrix],
    shape: tuple[int, int],
    values: Tensor,
    *buffers: Tensor,
) -> Held[Matrix]:
    """Return `held` if it is of these tensors as they are now, else build the matrix again.

    A buffer's state is its storage, size, dtype and version counter; that of the values leaves out
    the version, as they are read where they lie.
    """
    stamp = (id(values), _place(values), *((_place(b), _version(b)) for b in buffers))
    if held is not None and held.is_of(stamp):
        return held
    return Held(build(values, *buffers, shape), (values, *buffers), stamp)


def _place(tensor: Tensor) -> _Stamp:
    # Runs in each forward, where shape, strides and device would cost another microsecond. What
    # this does not see, a view of the same storage put in through `.data`, leaves the old matrix.
    return (tensor.data_ptr(), tensor.numel(), tensor.dtype, tensor.is_cpu)


def _version(tensor: Tensor) -> int | None:
    # Tensors made under inference_mode have no counter: edits of them are not noticed.
    return None if tensor.is_inference() else tensor._version


def build_csr(values: Tensor, indices: Tensor, indptr: Tensor, shape: tuple[int, int]) -> CSR:
    """Validate a module's tensors as a canonical CSR matrix around these very values.

    Raises
    ------
    RuntimeError
        If a tensor is not on the CPU.
    ValueError, IndexError, TypeError
        If they are no CSR matrix of this shape, columns ascending and unique in each row.
    """
    _require_cpu("CSRLinear", values, indices, indptr)
    matrix = CSR((values, indices, indptr), shape=shape)
    if matrix.data is not values:
        msg = "CSRLinear: the columns of a row in indices are not ascending and unique"
        raise ValueError(msg)
    return matrix


def build_sparse24(values: Tensor, metadata: Tensor, shape: tuple[int, int]) -> Sparse24:
    """Validate a module's tensors as a 2:4 matrix around these very values.

    Raises
    ------
    RuntimeError
        If a tensor is not on the CPU.
    ValueError, TypeError
        If they are no 2:4 matrix of this shape.
    """
    _require_cpu("Sparse24Linear", values, metadata)
    return Sparse24((values, metadata), shape=shape)


def _require_cpu(name: str, *tensors: Tensor) -> None:
    for tensor in tensors:
        if tensor.device.type != "cpu":
            msg = (
                f"{name}: its tensors are on {tensor.device}, but its kernels run on the CPU: "
                'call .to("cpu"), or convert it back with .to_dense() before moving the model'
            )
            raise RuntimeError(msg)


def narrow(indices: Tensor) -> Tensor:
    """Return non-negative integers in the narrowest signed dtype that holds them."""
    largest = int(indices.max()) if indices.numel() else 0
    return indices.to(next(dtype for dtype in _SIGNED if largest <= torch.iinfo(dtype).max))


def incoming(
    module: nn.Module, state_dict: dict[str, Any], prefix: str, names: Iterable[str]
) -> list[Tensor]:
    """Return the tensors a module would have after loading, on the CPU, in the order of `names`.

    Raises
    ------
    TypeError
        If an entry of the state_dict is not a tensor.
    """
    tensors = [state_dict.get(prefix + name, getattr(module, name)) for name in names]
    for name, tensor in zip(names, tensors, strict=True):
        if not isinstance(tensor, Tensor):
            msg = f"{name} is a {type(tensor).__name__}, expected a tensor"
            raise TypeError(msg)
    return [tensor.cpu() if tensor.is_cuda else tensor for tensor in tensors]


def to_dense_linear(module: SparseLinear[Matrix], matrix: Matrix) -> nn.Linear:
    """Return an nn.Linear with the matrix as weight and a copy of the module's bias."""
    with torch.no_grad():
        # skip_init: drawing initial weights would move the generator of the caller.
        linear: nn.Linear = nn.utils.skip_init(  # type: ignore[no-untyped-call]
            nn.Linear, module.in_features, module.out_features, bias=module.bias is not None
        )
        linear.weight = nn.Parameter(matrix.toarray(), requires_grad=module.values.requires_grad)
        if module.bias is not None:
            linear.bias = nn.Parameter(module.bias.clone(), module.bias.requires_grad)
    return linear.train(module.training)


def weight_bytes(module: SparseLinear[Matrix], *buffers: Tensor) -> int:
    """Bytes of a module's weight: values, buffers and, once made, the kernels' structure."""
    own = sum(tensor.nbytes for tensor in (module.values, *buffers))
    held = module._held
    return own if held is None else own + held.matrix.nbytes - module.values.nbytes


def describe(module: SparseLinear[Matrix], form: str, kernel: str, nbytes: int) -> str:
    """Return the text between the parentheses of a module's repr."""
    size = module.in_features * module.out_features
    sparsity = max(0.0, 1 - module.values.numel() / max(size, 1))
    dtype = str(module.values.dtype).removeprefix("torch.")
    return (
        f"in_features={module.in_features}, out_features={module.out_features}, "
        f"bias={module.bias is not None}, format={form}, sparsity={sparsity:.3f}, dtype={dtype}, "
        f"kernel={kernel}, bytes={nbytes}"
    )
