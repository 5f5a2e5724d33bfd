"""How far a sparse layer, or a model that has some, is from the dense one."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparsecore.nn.layers import Call

__all__ = ["layer_error", "outputs_difference", "random_input", "tolerance"]

_ORACLE_ROWS = 256


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


def layer_error(linear: nn.Linear, module: nn.Module, call: Call) -> float:
    """Return the largest error of a module's output on random inputs of the call's shape.

    Relative to the sum of magnitudes of what each output adds up, ``|x| |W|^T + |b|`` (plus the
    dtype's smallest normal number, below which rounding is absolute): the measure in which the
    error of a sum is bounded. The truth is the dense product in fp64, for up to 256 of the rows.
    """
    x = random_input(call)
    y = module(x).reshape(-1, linear.out_features)
    rows = torch.linspace(0, call.rows - 1, min(call.rows, _ORACLE_ROWS)).long()
    x, y = x.reshape(-1, linear.in_features)[rows].double(), y[rows].double()
    w = linear.weight.detach().double()
    b = x.new_zeros(()) if linear.bias is None else linear.bias.detach().double()
    expected = (F.linear(x, w) + b).to(call.dtype).double()
    scale = F.linear(x.abs(), w.abs()) + b.abs()
    return _largest(y, expected, scale + torch.finfo(call.dtype).smallest_normal)


def random_input(call: Call) -> Tensor:
    """Return normal numbers, the same each time, in the call's shape and dtype."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(call.shape, generator=generator, dtype=torch.float64).to(call.dtype)


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


def _largest(result: Tensor, expected: Tensor, scale: Tensor) -> float:
    """Return max |result - expected| / scale; inf where only one of two elements is finite."""
    finite = expected.isfinite()
    rest = torch.where(finite, 0, result), torch.where(finite, 0, expected)
    if not torch.allclose(*rest, equal_nan=True):
        return float("inf")
    gap = torch.where(finite, result - expected, 0).abs()
    # 0 / 0 is no error, and NaN where a number was expected is one.
    ratio = torch.where(gap == 0, 0, gap / scale).nan_to_num(nan=torch.inf, posinf=torch.inf)
    return float(ratio.max()) if ratio.numel() else 0.0
