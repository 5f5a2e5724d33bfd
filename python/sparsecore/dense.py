"""The dense counterparts that `linear` needs: dense weights, and an epilogue torch can see."""

from typing import Any

import numpy as np

from sparsecore import interop
from sparsecore.interop import Values


def strided() -> Any:
    """Return torch's layout of ordinary tensors (None without torch)."""
    torch = interop.torch_or_none()
    return None if torch is None else torch.strided


def flattened(x: Values) -> Values:
    """Return x (..., k) as (rows, k)."""
    rows = 1
    for size in x.shape[:-1]:
        rows *= size
    return x.reshape(rows, x.shape[-1])


def linear(
    x: Values,
    W: Values,
    *,
    scale: Values,
    bias: Values,
    residual: Values,
    activation: str | None,
    out: Values,
) -> Values:
    """Apply a layer with a dense weight, so that callers need not know which they hold."""
    if interop.is_tensor(x) != interop.is_tensor(W):
        msg = f"linear: x is a {type(x).__name__}, A a {type(W).__name__}, expected the same kind"
        raise TypeError(msg)
    if W.ndim != 2 or x.shape[-1] != W.shape[1]:
        msg = f"linear: x has shape {tuple(x.shape)}, A {tuple(W.shape)}, expected (..., k), (m, k)"
        raise ValueError(msg)
    y = epilogue(x @ W.T, scale=scale, bias=bias, residual=residual, activation=activation)
    if out is None:
        return y
    if tuple(out.shape) != tuple(y.shape) or out.dtype != y.dtype:
        msg = f"linear: out is {out.dtype} {tuple(out.shape)}, expected {y.dtype} {tuple(y.shape)}"
        raise ValueError(msg)
    out[...] = y
    return out


def epilogue(
    y: Values, *, scale: Values, bias: Values, residual: Values, activation: str | None
) -> Values:
    """Return ``activation(y * scale + bias + residual)``, absent parts skipped."""
    if scale is not None:
        y = y * scale
    if bias is not None:
        y = y + bias
    if residual is not None:
        y = y + residual
    if activation is None:
        return y
    if activation not in ("relu", "gelu", "silu"):
        msg = f"linear: activation is {activation!r}, expected None, 'relu', 'gelu' or 'silu'"
        raise ValueError(msg)
    if interop.is_tensor(y):
        return getattr(interop.torch_or_none().nn.functional, activation)(y)
    return _numpy_activation(y, activation)


def _numpy_activation(y: Values, activation: str) -> Values:
    if activation == "relu":
        return np.maximum(y, 0)
    if activation == "silu":
        return y / (1 + np.exp(-y))
    from math import erf

    return y * 0.5 * (1 + np.vectorize(erf, otypes=[y.dtype])(y * np.sqrt(y.dtype.type(0.5))))
