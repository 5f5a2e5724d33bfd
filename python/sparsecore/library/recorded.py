"""The operators' gradients, in terms of the operators."""

from typing import Any

import torch
from torch import Tensor

from sparsecore.library.gradients import Backward
from sparsecore.library.kinds import Kind, Product, matmul_of, sddmm_of


def save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    """Save an operator's arguments: tensors where autograd notices edits, the rest as it is."""
    del output  # torch passes it by name
    ctx.save_for_backward(*(value for value in inputs if isinstance(value, Tensor)))
    ctx.inputs = [None if isinstance(value, Tensor) else value for value in inputs]
    ctx.places = [i for i, value in enumerate(inputs) if isinstance(value, Tensor)]


def saved(ctx: Any) -> list[Any]:
    """Return the arguments that `save` saved."""
    inputs = list(ctx.inputs)
    for place, tensor in zip(ctx.places, ctx.saved_tensors, strict=True):
        inputs[place] = tensor
    return inputs


def matmul_backward(kind: Kind, ctx: Any, dY: Tensor) -> tuple[Any, ...]:
    """Return a product's gradients, one for each argument."""
    x, values, *rest = saved(ctx)
    structure, product = rest[: kind.width], Product(*rest[kind.width :])
    transposed, by_rows, scale, bias, residual, activation, threads = product
    if activation is not None:
        linear = product._replace(activation=None)
        dY = through(activation, dY, matmul_of(kind)(x, values, *structure, *linear))

    def multiply(right: Tensor, turned: bool) -> Tensor:
        sizes = structure[-1]
        is_int8 = values.dtype == torch.int8 and right.is_floating_point()
        ones = right.new_ones(sizes[1] if turned else sizes[0]) if is_int8 else None
        options = Product(turned, by_rows, ones, threads=threads)
        y: Tensor = matmul_of(kind)(right, values, *structure, *options)
        return y

    def sample(u: Tensor, v: Tensor) -> Tensor:
        d: Tensor = sddmm_of(kind)(u, v, *structure, threads)
        return d

    places = (1, 0, *(2 + kind.width + i for i in (2, 3, 4)))  # values, x, scale, bias, residual
    given = ctx.needs_input_grad  # shorter where a call left its last arguments out
    needs = [place < len(given) and given[place] for place in places]
    dtypes = [None if t is None else t.dtype for t in (values, bias, residual)]
    found = Backward(transposed, by_rows, multiply, sample).gradients(dY, x, scale, needs, dtypes)
    gradients: list[Tensor | None] = [None] * (2 + kind.width + len(product))
    for place, gradient in zip(places, found, strict=True):
        gradients[place] = gradient
    return tuple(gradients)


def through(activation: str, dY: Tensor, y: Tensor) -> Tensor:
    """Return the gradient of ``activation(y)``."""
    d: Tensor
    if activation == "relu":
        d = torch.ops.aten.threshold_backward(dY, y, 0)
    elif activation == "gelu":
        d = torch.ops.aten.gelu_backward(dY, y)
    else:  # silu; torch's own, aten.silu_backward, has no derivative
        share = y.sigmoid()
        d = dY * share * (1 + y * (1 - share))
    return d


def sddmm_backward(kind: Kind, ctx: Any, dD: Tensor) -> tuple[Any, ...]:
    """Return a sampled product's gradients, one for each argument."""
    u, v, *rest = saved(ctx)
    structure, threads = rest[: kind.width], rest[kind.width]
    matmul = matmul_of(kind)
    d_u = d_v = None
    if ctx.needs_input_grad[0]:
        d_u = matmul(v, dD, *structure, *Product(transposed=False, threads=threads))
    if ctx.needs_input_grad[1]:
        d_v = matmul(u, dD, *structure, *Product(transposed=True, threads=threads))
    return (d_u, d_v, *[None] * (kind.width + 1))
