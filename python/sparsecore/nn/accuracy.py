"""How far a sparse layer, or a model that has some, is from the dense one."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparsecore.nn.fused import finished
from sparsecore.nn.layers import Call, Dense

__all__ = ["LayerError", "layer_error", "outputs_difference", "random_inputs", "tolerance"]

_ORACLE_ROWS = 256
# The largest derivatives: of gelu at sqrt(2), of silu at 2.4.
_SLOPES = {None: 1.0, "relu": 1.0, "gelu": 1.129, "silu": 1.1}


def tolerance(dtype: torch.dtype, k: int) -> float:
    """Return the largest error that rounding explains, as :func:`layer_error` measures it.

    A sum of k products and a bias, in any order, is off by at most ``(k + 1) u / (1 - (k + 1) u)``
    of the sum of magnitudes (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1),
    where u = eps / 2 of the dtype that accumulates: fp32 for fp16 and bf16. Rounding the result
    adds half an eps of the result's dtype, once to the result and once to what it is compared
    with. So ``(k + 2) eps(acc) + eps(dtype)`` covers it, the sum with a factor of two to spare.

    Examples
    --------
    >>> import torch
    >>> tolerance(torch.float32, 1021) * 2**23
    1024.0
    """
    half = dtype in {torch.float16, torch.bfloat16}
    accumulator = torch.finfo(torch.float32 if half else dtype)
    return (k + 2) * accumulator.eps + torch.finfo(dtype).eps


@dataclass(frozen=True, slots=True)
class LayerError:
    """Errors of a layer, each the largest one over its outputs; see `layer_error`.

    Attributes
    ----------
    error : float
        Of the output.
    stored : float
        What the rounding of the stored values can make of it at most, ``|x| |W - W'|^T``, relative
        to the largest output.
    rest : float
        What that does not explain.
    """

    error: float
    stored: float
    rest: float

    @classmethod
    def largest(cls, errors: Iterable["LayerError"]) -> "LayerError":
        """Return the largest of each; of none, zeros."""
        found = [(e.error, e.stored, e.rest) for e in errors]
        return cls(*map(max, zip(*found, strict=True))) if found else cls(0.0, 0.0, 0.0)


def layer_error(
    dense: Dense, module: nn.Module, call: Call, stored: Tensor | None = None
) -> LayerError:
    """Return the largest error of a module's output on random inputs of the call's shape.

    Relative to the sum of magnitudes of what each output adds up, ``|x| |W|^T + |b|`` (plus the
    dtype's smallest normal number, below which rounding is absolute): the measure in which the
    error of a sum is bounded. The truth is the dense layer in fp64, for up to 256 of the rows of a
    linear layer's input, or the first image of a convolution's.

    `stored` is W', the weight in fp64 as far as the module's values hold it. By it an output is off
    by ``|x| |W - W'|^T`` at most, times the largest slope of the activation. That is taken from the
    error, output by output, before the rest is compared with `tolerance`.
    """
    x, residual = random_inputs(call)
    y = module(x, *residual)
    x, y, *added = (_compared(t, dense).double() for t in (x, y, *residual))
    w = dense.weight.detach().double()
    b = y.new_zeros(len(w)) if dense.bias is None else dense.bias.detach().double()
    r = added[0] if added else y.new_zeros(())
    apply = F.linear if isinstance(dense, nn.Linear) else dense._conv_forward
    activation = getattr(dense, "activation", None)
    expected = finished(apply(x, w, b) + r, None, activation).to(call.dtype).double()
    scale = apply(x.abs(), w.abs(), b.abs()) + r.abs() + torch.finfo(call.dtype).smallest_normal
    error = _largest(y, expected, scale)
    if stored is None:
        return LayerError(error, 0.0, error)
    lost = torch.where(w.isfinite(), w - stored, 0).abs()
    explained = _SLOPES[activation] * apply(x.abs(), lost, torch.zeros_like(b))
    largest = expected[expected.isfinite()].abs().amax() if expected.isfinite().any() else 0.0
    share = float(explained.max() / largest) if largest > 0 else 0.0
    # Sums of the rounded weight's magnitudes are longer by as much.
    rest = _largest(y, expected, scale + explained, explained)
    return LayerError(error, share, rest)


def _compared(t: Tensor, dense: Dense) -> Tensor:
    """Return the part of an input or output that is compared."""
    if isinstance(dense, nn.Conv2d):
        return t[:1] if t.ndim == 4 else t
    flat = t.reshape(-1, t.shape[-1])
    return flat[torch.linspace(0, len(flat) - 1, min(len(flat), _ORACLE_ROWS)).long()]


def random_inputs(call: Call) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return an input and, where the call had one, a residual: normal numbers, always the same."""
    generator = torch.Generator().manual_seed(0)

    def numbers(shape: tuple[int, ...]) -> Tensor:
        x = torch.randn(shape, generator=generator, dtype=torch.float64)
        x = x.to(call.device, call.dtype)
        return x.contiguous(memory_format=torch.channels_last) if call.channels_last else x

    x = numbers(call.shape)
    return x, (numbers(call.result),) if call.residual else ()


def outputs_difference(result: Any, expected: Any) -> float:
    """Return the largest difference of two outputs of a model.

    For each floating point tensor relative to its largest expected magnitude. Looks into mappings,
    sequences and dataclasses; inf where structure, shapes, dtypes or the places of NaN and Inf
    differ. Integers are not compared: an argmax may flip between two equal scores.

    Examples
    --------
    >>> import torch
    >>> outputs_difference({"y": torch.tensor([1.0, 4.5])}, {"y": torch.tensor([1.0, 4.0])})
    0.125
    """
    results, expectations = list(_tensors(result)), list(_tensors(expected))
    if len(results) != len(expectations):
        return float("inf")
    return max(map(_difference, results, expectations), default=0.0)


def _tensors(tree: Any) -> Iterator[Tensor]:
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, float):
        yield torch.tensor(tree, dtype=torch.float64)
    elif isinstance(tree, Mapping):
        for value in tree.values():
            yield from _tensors(value)
    elif isinstance(tree, tuple | list):
        for item in tree:
            yield from _tensors(item)
    elif dataclasses.is_dataclass(tree):
        for field in dataclasses.fields(tree):
            yield from _tensors(getattr(tree, field.name))


def _difference(result: Tensor, expected: Tensor) -> float:
    if result.shape != expected.shape or result.dtype != expected.dtype:
        return float("inf")
    if not expected.is_floating_point():
        return 0.0
    result, expected = result.double(), expected.double()
    finite = expected[expected.isfinite()]
    scale = finite.abs().max() if finite.numel() else expected.new_zeros(())
    return _largest(result, expected, scale)


def _largest(
    result: Tensor, expected: Tensor, scale: Tensor, explained: Tensor | None = None
) -> float:
    """Return max |result - expected| / scale; inf where only one of two elements is finite.

    What is `explained` of the difference is taken from it.
    """
    finite = expected.isfinite()
    rest = torch.where(finite, 0, result), torch.where(finite, 0, expected)
    if not torch.allclose(*rest, equal_nan=True):
        return float("inf")
    gap = torch.where(finite, result - expected, 0).abs()
    if explained is not None:
        gap = (gap - explained).clamp(min=0)
    # 0 / 0 is no error, and NaN where a number was expected is one.
    ratio = torch.where(gap == 0, 0, gap / scale).nan_to_num(nan=torch.inf, posinf=torch.inf)
    return float(ratio.max()) if ratio.numel() else 0.0
