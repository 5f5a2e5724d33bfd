"""Pruned linear layers, and what a sparse layer in their place must give."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

import oracle
import sparsecore as sc
from sparsecore.interop import to_numpy
from sparsecore.nn import CSRLinear, Sparse24Linear

KINDS = [CSRLinear, Sparse24Linear]
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def prune_(linear: nn.Linear) -> nn.Linear:
    """Set about three quarters of the weights to zero; a group of four keeps three."""
    with torch.no_grad():
        zero = torch.rand(linear.weight.shape, generator=generator()) < 0.75
        linear.weight.masked_fill_(zero, 0)
        linear.weight[0, :3] = 1.0
    return linear


def prune_24_(linear: nn.Linear) -> nn.Linear:
    """Set weights to zero until each group of four has two at most."""
    with torch.no_grad():
        linear.weight.masked_fill_(~sc.prune_24(linear.weight), 0)
    return linear


def pruned_24(
    k: int, m: int, *, bias: bool = True, dtype: torch.dtype = torch.float32
) -> nn.Linear:
    """Return a linear layer with random weights of which each group of four has two at most."""
    linear = nn.Linear(k, m, bias=bias, dtype=dtype)
    with torch.no_grad():
        linear.weight.copy_(torch.randn(m, k, generator=generator()))
    return prune_24_(linear)


def csr_state(values: list[float], indices: Any, indptr: Any) -> dict[str, torch.Tensor]:
    """Return the state of a CSR layer without bias."""
    return {
        "values": torch.tensor(values),
        "indices": torch.as_tensor(indices),
        "indptr": torch.as_tensor(indptr),
    }


def filled_csr(values: list[float], indices: list[int], indptr: list[int], k: int) -> CSRLinear:
    """Return a CSR layer loaded with the given arrays, without bias."""
    layer = CSRLinear(k, len(indptr) - 1, bias=False)
    layer.load_state_dict(csr_state(values, indices, indptr))
    return layer


def check_forward(layer: nn.Module, linear: nn.Linear, x: torch.Tensor) -> None:
    """Compare what `layer` makes of x with the formula of the dense layer, in float64."""
    with torch.no_grad():
        y = layer(x)
    X, W = (tensor.detach().double().numpy() for tensor in (x, linear.weight))
    value, magnitude = X @ W.T, np.abs(X) @ np.abs(W).T
    if linear.bias is not None:
        bias = linear.bias.detach().double().numpy()
        value, magnitude = value + bias, magnitude + np.abs(bias)
    dtype = to_numpy(x, name="x").dtype
    # k products and the bias, in any order.
    want = oracle.expected(value, magnitude, linear.in_features + 2, dtype)
    oracle.check(to_numpy(y, name="y"), want, f"{layer} of {tuple(x.shape)}")
