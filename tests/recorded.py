"""Matrices and numbers whose gradients are asked for; imported by tests that need torch."""

from __future__ import annotations

from typing import Any

import numpy as np

import cases
import oracle
import sparsecore as sc

RNG_SEED = 39


def pattern(m: int, k: int, density: float = 0.5) -> sc.CSR:
    """Return a fp64 CSR pattern of tensors, with an empty row where there is room."""
    import torch

    W = cases.random_dense(np.random.default_rng(RNG_SEED), (m, k), density, oracle.F64)
    W[m // 2] = 0
    return sc.CSR.from_dense(torch.from_numpy(W))


def leaf(*shape: int, order: str = "C", seed: int = 0) -> Any:
    """Return fp64 numbers that require grad, in a memory order."""
    import torch

    generator = torch.Generator().manual_seed(RNG_SEED + seed)
    x = torch.randn(*shape, dtype=torch.float64, generator=generator)
    if order == "F" and x.ndim == 2:
        x = x.t().contiguous().t()
    return x.requires_grad_()
