"""From the public functions' arguments to the operators, where torch must see a call."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from sparsecore import dense, interop
from sparsecore.conv import ConvPlan
from sparsecore.conv_geometry import ConvGeometry
from sparsecore.formats import CSR, Sparse24
from sparsecore.interop import Values
from sparsecore.library import convolution, kinds, operators  # noqa: F401 (registers them)
from sparsecore.library.structures import narrowed
from sparsecore.ops import Left
from sparsecore.plan import Plan


@dataclass(frozen=True, slots=True)
class Call:
    """What a product is told besides its tensors."""

    left: Left
    transposed: bool
    by_rows: bool
    threads: int | None
    name: str


def matmul(
    call: Call,
    X: Tensor,
    scale: Values,
    bias: Values,
    residual: Values,
    activation: str | None,
    *,
    out: Tensor | None,
) -> Tensor:
    """Multiply as `sparsecore.ops.matmul`."""
    _check_transforms(call.name)
    kind, values, *structure = _matrix(call.left, call.name)
    matmul = kinds.matmul_of(kind)
    epilogue = [_tensor(value, call.name) for value in (scale, bias, residual)]
    options = (call.transposed, call.by_rows, *epilogue)
    if torch.is_grad_enabled():  # torch's activation keeps what its backward needs
        y = matmul(X, values, *structure, *options, None, call.threads)
        y = dense.activated(y, activation)
    else:
        y = matmul(X, values, *structure, *options, activation, call.threads)
    return y if out is None else out.copy_(y)


def layer(
    kind: kinds.Kind,
    x: Tensor,
    values: Tensor,
    structure: list[Tensor],
    shape: list[int],
    bias: Tensor | None,
    scale: Tensor | None = None,
) -> Tensor:
    """Apply a layer whose matrix is in tensors: what `sparsecore.nn`'s modules run when traced."""
    _check_transforms("linear")
    y: Tensor = kinds.matmul_of(kind)(x, values, *structure, shape, False, True, scale, bias)
    return y


def conv2d(
    A: CSR | ConvPlan,
    x: Tensor,
    geometry: ConvGeometry,
    epilogue: dense.Epilogue,
    *,
    out: Tensor | None,
    threads: int | None,
) -> Tensor:
    """Convolve images, (n, c, h, w), as `sparsecore.conv2d`."""
    _check_transforms("conv2d")
    kind, *weight = _matrix(A, "conv2d")
    y = _convolved(kind, x, weight, geometry, epilogue, threads)
    return y if out is None else out.copy_(y)


def conv_layer(
    x: Tensor, weight: Sequence[Any], geometry: ConvGeometry, epilogue: dense.Epilogue
) -> Tensor:
    """Apply a layer whose weight is in tensors: values, columns, row offsets, and its shape."""
    _check_transforms("conv2d")
    if x.ndim != 3:
        return _convolved(kinds.CSR, x, weight, geometry, epilogue, None)
    scale, bias, residual = epilogue.scale, epilogue.bias, epilogue.residual
    residual = None if residual is None else residual[None]
    lifted = dense.Epilogue(scale, bias, residual, epilogue.activation)
    return _convolved(kinds.CSR, x[None], weight, geometry, lifted, None)[0]


def _convolved(
    kind: kinds.Kind,
    x: Tensor,
    weight: Sequence[Any],
    geometry: ConvGeometry,
    epilogue: dense.Epilogue,
    threads: int | None,
) -> Tensor:
    g, given = geometry, (epilogue.scale, epilogue.bias, epilogue.residual)
    places = [list(g.kernel_size), list(g.stride), list(g.padding), list(g.dilation), g.groups]
    tensors = [_tensor(value, "conv2d") for value in given]
    # torch's activation keeps what its backward needs
    later = epilogue.activation if torch.is_grad_enabled() else None
    now = None if torch.is_grad_enabled() else epilogue.activation
    y: Tensor = convolution.conv2d_of(kind)(x, *weight, *places, *tensors, now, threads)
    result: Tensor = dense.activated(y, later)
    return result


def csr_sddmm(A: CSR | Plan, U: Tensor, V: Tensor, *, threads: int | None) -> Tensor:
    """Take the sampled product as `sparsecore.csr_sddmm`."""
    _check_transforms("csr_sddmm")
    kind, _, *structure = _matrix(A, "csr_sddmm")
    d: Tensor = kinds.sddmm_of(kind)(U, V, *structure, threads)
    return d


def _check_transforms(name: str) -> None:
    """Refuse derivatives that torch would get wrong: without a rule for them, tangents are lost."""
    if torch.compiler.is_dynamo_compiling():
        return
    stack = torch._C._functorch.get_interpreter_stack() or []
    kinds_found = {str(interpreter.key()).rpartition(".")[2] for interpreter in stack}
    if forward_ad._current_level >= 0 or kinds_found & {"Grad", "Jvp"}:
        msg = (
            f"{name}: forward-mode AD and torch.func's derivatives are not implemented; "
            "torch.autograd.grad and .backward() are"
        )
        raise NotImplementedError(msg)


def _matrix(left: Left | ConvPlan, name: str) -> tuple[Any, ...]:
    """Return the kind of operator, the values, and what says which matrix it is."""
    if _is_exporting():
        return _canonical(left, name)
    handle = left._handle
    if handle is None:
        msg = f"{name}: A holds numpy values, but torch traces this call; make A of tensors"
        raise TypeError(msg)
    values = left._like if isinstance(left, Plan | ConvPlan) else _values(left)
    return kinds.HELD, values, handle.token, list(handle.sizes)


def _values(left: CSR | Sparse24) -> Any:
    return left._data if isinstance(left, CSR) else left._values


def _is_exporting() -> bool:
    """Whether the graph will outlive this process, so that it must hold the matrix itself."""
    if hasattr(torch.compiler, "is_exporting"):  # of torch 2.7
        return torch.compiler.is_exporting()
    return torch.compiler.is_compiling() and not torch.compiler.is_dynamo_compiling()


def _canonical(left: Left | ConvPlan, name: str) -> tuple[Any, ...]:
    """Return the matrix as tensors of its own, which become constants of an exported program."""
    if torch.compiler.is_dynamo_compiling():
        msg = (
            f"{name}: a {type(left).__name__} cannot be exported with strict=True; use "
            "strict=False, or a layer that is not prepared"
        )
        raise TypeError(msg)
    with _no_modes():
        if isinstance(left, Sparse24):
            return kinds.SPARSE24, left._values.detach(), left.metadata, list(left.shape)
        matrix = left.tocsr()
        indices, indptr = narrowed(matrix.indices), narrowed(matrix.indptr)
        return kinds.CSR, matrix._data.detach(), indices, indptr, list(matrix.shape)


def _no_modes() -> Any:
    """Return a context in which tensors are what they are, not those of the trace."""
    from torch.utils._python_dispatch import _disable_current_modes

    return _disable_current_modes()


def _tensor(value: Values, name: str) -> Tensor | None:
    if value is None or isinstance(value, Tensor):
        return value
    tensor: Tensor = interop.as_tensor(interop.to_numpy(value, name=name))
    return tensor
