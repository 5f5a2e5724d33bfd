"""Calls of conv2d that are wrong in one thing."""

from __future__ import annotations

from typing import Any

import numpy as np

import sparsecore as sc
from oracle import F32, Array, DType

KINDS = ("csr", "plan")
NAMES = ("kernel_size", "stride", "padding", "dilation")


def eye(dtype: DType = F32) -> sc.CSR:
    """Return weights of 6 channels from 2 x 3 x 3."""
    return sc.CSR.from_dense(np.eye(6, 18, dtype=dtype))


def conv(x: Any, kind: str = "csr", A: Any = None, **options: Any) -> Any:
    """Convolve x, (n, 2, h, w), by a kernel of 3 x 3."""
    A = eye() if A is None else A
    names = (*NAMES, "groups")
    geometry = {"kernel_size": 3} | {n: options.pop(n) for n in names if n in options}
    if kind == "plan":
        return sc.conv2d(x, sc.ConvPlan(A, **geometry), **options)
    return sc.conv2d(x, A, **geometry, **options)


def images(*shape: int, dtype: DType = F32) -> Array:
    """Return images of ones, 2 of 2 channels by 5 by 6 unless told."""
    return np.ones(shape or (2, 2, 5, 6), dtype)
