"""A weight and images for the convolution's operators; imported by tests that need torch."""

from __future__ import annotations

from typing import Any

import torch

import sparsecore as sc
from library_cases import numbers

GEOMETRY: dict[str, Any] = {
    "kernel_size": [3, 2],
    "stride": [2, 1],
    "padding": [1, 0],
    "dilation": [1, 2],
    "groups": 2,
}
PLACES = tuple(GEOMETRY.values())


def weight(dtype: Any = torch.float64) -> sc.CSR:
    """Return four output channels, of four input channels in two groups; one row is empty."""
    W = numbers(4, 12, grad=False)
    W = W.where(W.abs() > 0.5, 0)
    W[3] = 0
    A = sc.CSR.from_dense(W.to(dtype))
    return A.with_data(A.data.clone().requires_grad_(dtype.is_floating_point))


A = weight()
P = sc.ConvPlan(A, **GEOMETRY)
X = numbers(2, 4, 4, 4)
LAST = X.detach().to(memory_format=torch.channels_last).requires_grad_()
SHAPE = (2, 4, 2, 2)
SCALE, BIAS, RESIDUAL = numbers(4, seed=1), numbers(4, seed=2), numbers(*SHAPE, seed=3)
EPILOGUE = {"bias": BIAS, "scale": SCALE, "residual": RESIDUAL}


def named(kind: str, A: sc.CSR = A, P: sc.ConvPlan = P) -> list[Any]:
    """Return the values, and what tells an operator which weight is meant."""
    if kind == "csr":
        structure = A.indices.to(torch.int16), A.indptr.to(torch.int8)
        return [A.data, *structure, list(A.shape)]
    thing, values = (A, A.data) if kind == "held" else (P, P._like)
    return [values, thing._handle.token, list(thing._handle.sizes)]
