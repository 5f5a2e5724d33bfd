"""Pruned 2-D convolutions, and what a sparse layer in their place must give."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

import conv_cases
import oracle
from conv_cases import Geometry
from linear_layers import generator
from sparsecore.interop import to_numpy
from sparsecore.nn import CSRConv2d

# in_channels, out_channels, and what else nn.Conv2d takes.
SHAPES: list[dict[str, Any]] = [
    {"kernel_size": 1},
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": (3, 2), "stride": (2, 1), "padding": (0, 2), "dilation": (1, 2), "groups": 2},
    {"kernel_size": 3, "padding": "same", "groups": 4},
    {"kernel_size": (2, 4), "padding": "valid"},
]


def pruned(
    out_channels: int = 8,
    *,
    in_channels: int = 4,
    dtype: torch.dtype = torch.float32,
    bias: bool = True,
    seed: int = 0,
    **options: Any,
) -> nn.Conv2d:
    """Return a convolution with random weights, two thirds of them zero; 3 x 3 unless told."""
    conv = nn.Conv2d(
        in_channels, out_channels, **({"kernel_size": 3} | options), bias=bias, dtype=dtype
    )
    with torch.no_grad():
        draw = generator(seed)
        conv.weight.copy_(torch.randn(conv.weight.shape, generator=draw))
        conv.weight[torch.rand(conv.weight.shape, generator=draw) < 0.67] = 0
    return conv


def sparse(*arguments: Any, **options: Any) -> CSRConv2d:
    """Return the sparse layer of such a convolution."""
    return CSRConv2d.from_dense(pruned(*arguments, **options))


def images(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 1) -> torch.Tensor:
    """Return random images; 2 of 4 channels by 6 by 7 unless told."""
    return torch.randn(shape or (2, 4, 6, 7), generator=generator(seed)).to(dtype)


def check_forward(layer: nn.Module, conv: nn.Conv2d, x: torch.Tensor) -> None:
    """Compare what `layer` makes of x, (n, c, h, w), with the formula, in float64."""
    with torch.no_grad():
        y = layer(x)
    W = conv.weight.detach().double().numpy()
    spans = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
    named = {"same": (spans[0] // 2, spans[1] // 2), "valid": (0, 0)}
    padding: Any = named[conv.padding] if isinstance(conv.padding, str) else conv.padding
    g = Geometry(conv.kernel_size, conv.stride, padding, conv.dilation, conv.groups)
    X = to_numpy(x, name="x")
    bias = None if conv.bias is None else conv.bias.detach().double().numpy()
    want = conv_cases.convolved(W.reshape(len(W), -1), X, g, X.dtype, bias=bias)
    oracle.check(to_numpy(y, name="y"), want, f"{layer} of {tuple(x.shape)}")
