"""Layers of known sizes, dense and sparse, whose times tell a machine's constants."""

import copy
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import sparsecore as sc
from sparsecore.diagnosis.machine import Problem
from sparsecore.nn.layers import Dense
from sparsecore.nn.sparse24_conv import has_24_kernel

__all__ = ["probes"]


def probes(
    problem: Problem, size: int, densities: Sequence[float]
) -> dict[str, Callable[[], object]]:
    """Return callables by name: "dense", "csr DENSITY" for each density, "2:4" where that runs.

    Parameters
    ----------
    problem : Problem
    size : int
        Rows and columns of the matrix, or channels of the convolution.
    densities : sequence of float
    """
    generator = torch.Generator().manual_seed(0)
    dense, x = _dense(problem, size, generator)
    calls: dict[str, nn.Module] = {"dense": dense}
    for density in densities:
        kept = torch.rand(dense.weight.shape, generator=generator) < density
        sparse = _with(dense, kept)
        kind: Any = sc.nn.CSRLinear if isinstance(dense, nn.Linear) else sc.nn.CSRConv2d
        calls[f"csr {density}"] = kind.from_dense(sparse).prepare_(problem.rows)
    if has_24_kernel(dense):
        flat = dense.weight.detach().flatten(1)
        half = _with(dense, sc.prune_24(flat).view_as(dense.weight))
        kind24: Any = sc.nn.Sparse24Linear if isinstance(dense, nn.Linear) else sc.nn.Sparse24Conv2d
        calls["2:4"] = kind24.from_dense(half)
    return {name: partial(_run, module, x) for name, module in calls.items()}


def _run(module: nn.Module, x: Tensor) -> None:
    with torch.no_grad():
        module(x)


def _dense(problem: Problem, size: int, generator: torch.Generator) -> tuple[Dense, Tensor]:
    """Return a dense layer without bias, and its input."""
    dtype = getattr(torch, problem.dtype)
    if not problem.kernel_size:
        linear = nn.Linear(size, size, bias=False, device="meta")
        x = torch.randn(problem.rows, size, generator=generator).to(dtype)
        return _filled(linear, (size, size), dtype, generator), x
    height, width = problem.kernel_size
    side = math.isqrt(problem.rows)
    conv = nn.Conv2d(size, size, (height, width), bias=False, device="meta")
    image = (1, size, side + height - 1, problem.rows // side + width - 1)
    x = torch.randn(image, generator=generator).to(dtype)
    return _filled(conv, (size, size, height, width), dtype, generator), x


def _filled(layer: Any, shape: tuple[int, ...], dtype: torch.dtype, generator: Any) -> Any:
    """Give a layer a weight without moving the generator of the caller."""
    layer.weight = nn.Parameter(torch.randn(shape, generator=generator).to(dtype), False)
    return layer


def _with(dense: Any, kept: Tensor) -> Any:
    """Return a copy of a layer that keeps some of its weights."""
    copied = copy.copy(dense)
    weight = nn.Parameter(dense.weight.detach().masked_fill(~kept, 0), False)
    copied._parameters = {**dense._parameters, "weight": weight}
    return copied
