"""Which operands of an operator of torch's are weights, and how it uses them."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from torch import Tensor

from sparsecore.diagnosis import operators
from sparsecore.diagnosis.facts import LayerUse
from sparsecore.diagnosis.origins import Origins, axis_of

__all__ = ["uses_of"]

Found: TypeAlias = Iterator[tuple[Tensor, LayerUse]]


def uses_of(
    origins: Origins, name: str, args: Sequence[Any], operands: Sequence[Tensor], result: Any
) -> Found:
    """Yield the operands that are weights, each with its use.

    Parameters
    ----------
    origins : Origins
        Before the result's is noted.
    name : str
        Of the operator.
    args : sequence
        Its positional arguments.
    operands : sequence of Tensor
        The tensors among its arguments.
    result : object
    """
    if name in operators.MATRIX_OPERANDS:
        yield from _product(origins, name, args)
    elif name in operators.CONVOLUTIONS:
        yield from _convolution(origins, name, args, result)
    elif name in operators.LOOKUPS:
        if origins.sources(args[0]) and not all(map(origins.sources, operands)):
            yield args[0], LayerUse("lookup", name, macs=0)
    elif operators.is_fused(name):
        yield from _fused(origins, name, operands)


def _product(origins: Origins, name: str, args: Sequence[Any]) -> Found:
    left, right = (args[place] for place in operators.MATRIX_OPERANDS[name])
    if _is_weight(origins, right, is_right=True):
        axis = right.ndim - 1 if name == "aten::linear" else max(right.ndim - 2, 0)
        rows = math.prod(left.shape[:-1]) if right.ndim == 2 else left.shape[-2]
        yield right, _matrix(origins, name, right, axis, rows)
    elif _is_weight(origins, left, is_right=False):
        rows = right.numel() // max(left.shape[-1], 1)
        rows = rows // left.shape[0] if name in operators.BATCHED else rows
        yield left, _matrix(origins, name, left, left.ndim - 1, rows)


def _is_weight(origins: Origins, operand: Tensor, *, is_right: bool) -> bool:
    """Whether an operand of a product is a weight, and not activations of another product."""
    origin = origins.of(operand)
    if origin is None or not origin.sources:
        return False
    return not origin.of_product or (is_right and operand.ndim == 2)


def _matrix(origins: Origins, name: str, operand: Tensor, axis: int, rows: int) -> LayerUse:
    is_batch = name in operators.BATCHED and operand.shape[0] > 1
    return LayerUse(
        "batched" if is_batch else "linear",
        name,
        axis_of(origins.base(operand), operand, axis),
        rows=(rows,),
        macs=rows * operand.numel(),
    )


def _convolution(origins: Origins, name: str, args: Sequence[Any], result: Tensor) -> Found:
    x, weight = args[0], args[1]
    if not origins.sources(weight):
        return
    is_transposed, groups = bool(args[6]), int(args[8])
    image = x if is_transposed else result
    pixels = image.numel() // max(image.shape[1], 1)
    use = LayerUse(
        "convolution",
        name,
        reduction_axis=0 if is_transposed else 1,
        groups=groups,
        kernel_size=tuple(weight.shape[2:]),
        transposed=is_transposed,
        rows=(pixels,),
        macs=pixels * weight.numel(),
    )
    yield weight, use


def _fused(origins: Origins, name: str, operands: Sequence[Tensor]) -> Found:
    data = next((x for x in operands if not origins.sources(x)), None)
    if data is None:
        return
    rows = math.prod(data.shape[:-1])
    for weight in operands:
        if weight.ndim >= 2 and origins.sources(weight):
            yield weight, LayerUse("fused", name, 1, rows=(rows,), macs=rows * weight.numel())
