"""Whether TensorRT can take a layer's weight for 2:4, from its shape, dtype and zeros."""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from sparsecore.export.layers import Layer, Weight
from sparsecore.interop import Array

__all__ = ["Judgement", "Verdict", "judge", "share_of_24", "without_weight"]

Verdict: TypeAlias = Literal["eligible", "unsure", "not eligible", "no weight"]

_DTYPES = ("float16", "bfloat16", "int8", "float8_e4m3fn", "float32")
# Below it sparse kernels are seldom the faster ones: NVIDIA in github.com/NVIDIA/TensorRT/issues,
# 3849 ("C and K are large enough (>256)") and 4065 ("256 or above").
_ENOUGH_CHANNELS = 256


@dataclass(frozen=True, slots=True)
class Judgement:
    """What can be said of a layer without TensorRT.

    Attributes
    ----------
    verdict : {"eligible", "unsure", "not eligible", "no weight"}
        "no weight": a product of two computed values, as in attention.
    why : str
        One sentence with its number.
    share : float or None
        Of the groups of four along the axis that have two nonzeros at most; None where there are no
        groups to count.
    notes : tuple of str
        What else decides whether a sparse kernel is taken.
    """

    verdict: Verdict
    why: str
    share: float | None = None
    notes: tuple[str, ...] = ()


def share_of_24(weight: Array, axis: int) -> float:
    """Return the share of groups of four along an axis that have two nonzeros at most.

    Parameters
    ----------
    weight : array
        Its length along `axis` is a multiple of 4.
    axis : int

    Returns
    -------
    float
        1 where there are no groups.

    Examples
    --------
    >>> share_of_24(np.array([[1, 0, 0, 2, 3, 4, 5, 0]]), axis=1)
    0.5
    """
    groups = np.moveaxis(weight, axis, -1).reshape(-1, 4)
    return float(np.mean(np.count_nonzero(groups, axis=1) <= 2)) if len(groups) else 1.0


def judge(layer: Layer) -> Judgement:
    """Say whether a layer's weight has what TensorRT asks for.

    For each output and each pixel of a kernel, every four input channels must have two zeros at
    least, along C of a convolution's (K, C, R, S), and C % 4 == 0; of a product likewise along the
    axis that is summed over.

    References
    ----------
    NVIDIA TensorRT Developer Guide, "Structured Sparsity".
    """
    weight = layer.weight
    if weight is None:
        return without_weight(layer)
    if weight.dtype not in _DTYPES:
        expected = "float16, bfloat16, int8, float8 or float32"
        return Judgement("not eligible", f"its weight is {weight.dtype}, expected {expected}")
    if not math.prod(weight.shape):
        return Judgement("not eligible", f"its weight of shape {weight.shape} is empty")
    if weight.shape[weight.axis] % 4:
        return Judgement("not eligible", _odd_length(layer, weight))
    numbers = weight.read()
    share = share_of_24(numbers, weight.axis)
    if share < 1:
        return Judgement("not eligible", _not_24(weight, numbers, share), share)
    notes = tuple(_notes(layer, weight))
    if weight.groups > 1:
        why = f"2:4, in {weight.groups} groups: the guide does not speak of grouped convolutions"
        return Judgement("unsure", why, share, notes)
    if layer.operator == "MatMul":
        why = (
            "2:4, but a MatMul: builds of TensorRT 8 were seen to leave these out; "
            "to_onnx(rewrite_matmul=True) writes Gemm"
        )
        return Judgement("unsure", why, share, notes)
    return Judgement("eligible", f"2:4 along axis {weight.axis}", share, notes)


def without_weight(layer: Layer) -> Judgement:
    """Judge a layer that multiplies by no constant."""
    if layer.operator == "MatMul":
        return Judgement("no weight", "a product of two computed values")
    return Judgement("not eligible", "its weight is computed, not a constant of the graph")


def _odd_length(layer: Layer, weight: Weight) -> str:
    length = weight.shape[weight.axis]
    if weight.groups > 1 and length == 1:
        return f"depthwise: {length} input channel a group, 2:4 needs 4"
    what = "input channels" if layer.operator == "Conv" else "numbers a sum"
    a_group = " a group" if weight.groups > 1 else ""
    return f"{length} {what}{a_group}, expected a multiple of 4"


def _not_24(weight: Weight, numbers: Array, share: float) -> str:
    others = [
        axis
        for axis, length in enumerate(weight.shape)
        if axis != weight.axis and length and length % 4 == 0 and share_of_24(numbers, axis) == 1
    ]
    along = f"{1 - share:.1%} of its groups of four along axis {weight.axis} have more than two "
    hint = f"; it is 2:4 along axis {others[0]}" if others else ""
    zeros = 1 - np.count_nonzero(numbers) / numbers.size
    return f"{along}nonzeros ({zeros:.1%} of it is zero){hint}"


def _notes(layer: Layer, weight: Weight) -> list[str]:
    """Return what may keep TensorRT from a sparse kernel that it could take."""
    found = []
    # Of (K, C, R, S) each of K outputs sums C R S numbers, which is what counts.
    size = math.prod(weight.shape)
    outputs = weight.shape[0] if layer.operator == "Conv" else size // weight.shape[weight.axis]
    summed = size // outputs
    if min(outputs, summed) < _ENOUGH_CHANNELS:
        found.append(
            f"{outputs} outputs of {summed} numbers each: dense kernels are mostly faster below "
            f"{_ENOUGH_CHANNELS}"
        )
    if weight.dtype == "float32":
        found.append("float32: sparse in a build for fp16 or int8, else as TF32 at best")
    if layer.operator == "Linear":
        found.append("exported as MatMul where its input has more than two axes")
    return found
