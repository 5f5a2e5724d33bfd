"""`linear` with a dense weight, so that its callers need not know which kind they hold.

It follows the rules of the sparse products: result dtypes, allowed mixes, accumulation.
"""

from dataclasses import dataclass
from math import erf
from typing import Any

import numpy as np

from sparsecore import interop
from sparsecore.interop import Values

_FLOATING = ("float16", "bfloat16", "float32", "float64")


@dataclass(frozen=True, slots=True)
class Epilogue:
    """``activation(y * scale + bias + residual)``; None: left out."""

    scale: Values
    bias: Values
    residual: Values
    activation: str | None


def flattened(x: Values) -> Values:
    """Return x (..., k) as (rows, k), a view where strides allow."""
    if x.ndim == 2:
        return x
    rows = 1
    for size in x.shape[:-1]:
        rows *= size
    return x.reshape(rows, x.shape[-1])


def ordered_like(x: Any, shape: list[int], dtype: Any) -> Any:
    """Return an empty tensor in the memory order of the tensor x, as products' results have it."""
    is_wide = x.ndim == 2 and x.shape[0] > 1 and x.shape[1] > 1
    if is_wide and x.stride(0) < x.stride(1):
        return x.new_empty(shape[::-1], dtype=dtype).t()
    return x.new_empty(shape, dtype=dtype)


def linear(x: Values, W: Values, epilogue: Epilogue, *, out: Values) -> Values:
    """Apply a layer: x (..., k), W (m, k) dense, of one kind."""
    if interop.is_tensor(x) != interop.is_tensor(W):
        kinds = ["a torch tensor" if interop.is_tensor(v) else "a numpy array" for v in (x, W)]
        msg = f"linear: x is {kinds[0]}, A is {kinds[1]}; expected the same kind"
        raise TypeError(msg)
    if x.ndim < 1:
        msg = "linear: x has no axis, expected (..., features)"
        raise TypeError(msg)
    if W.ndim != 2 or x.shape[-1] != W.shape[1]:
        msg = f"linear: x has shape {tuple(x.shape)}, A {tuple(W.shape)}, expected (..., k), (m, k)"
        raise ValueError(msg)
    result, accumulator = _dtypes(x, W, has_scale=epilogue.scale is not None)
    shape = (*x.shape[:-1], W.shape[0])
    _check_epilogue(epilogue, shape, result)
    if out is not None:
        _check_out(out, shape, result, x, W, epilogue)
    y = interop.cast(x, accumulator) @ interop.cast(W, accumulator).T
    y = _rounded(_applied(y, epilogue, accumulator), result)
    if out is None:
        return y
    out[...] = y
    return out


def _check_epilogue(epilogue: Epilogue, shape: tuple[int, ...], result: np.dtype[Any]) -> None:
    for name, value, expected in (
        ("scale", epilogue.scale, shape[-1:]),
        ("bias", epilogue.bias, shape[-1:]),
        ("residual", epilogue.residual, shape),
    ):
        if value is None:
            continue
        dtype = interop.numpy_dtype(value.dtype)
        if value.ndim != len(expected):
            msg = f"linear: {name} has {value.ndim} dimensions, expected {len(expected)}"
            raise TypeError(msg)
        if tuple(value.shape) != tuple(expected):
            msg = f"linear: {name} has shape {tuple(value.shape)}, expected {tuple(expected)}"
            raise ValueError(msg)
        if dtype.name not in _FLOATING or (name == "residual" and dtype != result):
            msg = f"linear: {name} is {dtype}, the result {result}"
            raise TypeError(msg)
    parts = (epilogue.scale, epilogue.bias, epilogue.residual, epilogue.activation)
    if result == np.int32 and any(part is not None for part in parts):
        msg = "linear: an int8 product takes no scale, bias, residual or activation"
        raise TypeError(msg)


def _check_out(
    out: Values,
    shape: tuple[int, ...],
    result: np.dtype[Any],
    x: Values,
    W: Values,
    epilogue: Epilogue,
) -> None:
    dtype = interop.numpy_dtype(out.dtype)
    if tuple(out.shape) != tuple(shape) or dtype != result:
        msg = f"linear: out is {dtype} {tuple(out.shape)}, expected {result} {tuple(shape)}"
        raise ValueError(msg)
    inputs = {"x": x, "A": W, "scale": epilogue.scale, "bias": epilogue.bias}
    inputs["residual"] = epilogue.residual
    for name, value in inputs.items():
        if value is not None and _may_share_memory(out, value, name):
            msg = f"linear: out overlaps {name} in memory"
            raise ValueError(msg)


def _may_share_memory(out: Values, value: Values, name: str) -> bool:
    """Whether the extents of two operands overlap."""
    if interop.on_device(out) and interop.on_device(value):
        begin, end = _extent(out)
        other_begin, other_end = _extent(value)
        return bool(begin < other_end and other_begin < end)
    if interop.on_device(out):
        return False  # numpy's and the device's
    written = interop.to_numpy(out, name="linear: out")
    return np.may_share_memory(written, interop.to_numpy(value, name=f"linear: {name}"))


def _extent(tensor: Any) -> tuple[int, int]:
    """Return where the memory of a tensor begins and ends; torch has no negative strides."""
    if tensor.numel() == 0:
        return 0, 0
    last = sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.data_ptr(), tensor.data_ptr() + (last + 1) * tensor.element_size()


def _dtypes(x: Values, W: Values, *, has_scale: bool) -> tuple[np.dtype[Any], np.dtype[Any]]:
    """Return the result's dtype and the one to sum in."""
    right, left = interop.numpy_dtype(x.dtype), interop.numpy_dtype(W.dtype)
    if not (right.isnative and left.isnative):
        msg = f"linear: A is {left!r}, x is {right!r}; expected native byte order"
        raise TypeError(msg)
    halves = ("float16", "bfloat16")
    floating = right.name in _FLOATING
    from_int8 = left == np.int8 and floating and has_scale
    widened = left.name in halves and right == np.float32
    if not (left == right and (floating or left == np.int8)) and not from_int8 and not widened:
        msg = (
            f"linear: A is {left}, x is {right}; expected equal dtypes, float16 or bfloat16 A with "
            "float32 x, or int8 A with floating x and scale"
        )
        raise TypeError(msg)
    if not floating:  # exact in float64: every sum of fewer than 2**39 products is below 2**53
        return np.dtype(np.int32), np.dtype(np.float64)
    return right, np.dtype(np.float32) if right.name in halves else right


def _applied(y: Values, epilogue: Epilogue, accumulator: np.dtype[Any]) -> Values:
    if epilogue.scale is not None:
        y = y * _like(epilogue.scale, y, accumulator)
    if epilogue.bias is not None:
        y = y + _like(epilogue.bias, y, accumulator)
    if epilogue.residual is not None:
        y = y + _like(epilogue.residual, y, accumulator)
    return activated(y, epilogue.activation)


def _like(value: Values, y: Values, dtype: np.dtype[Any]) -> Values:
    if interop.is_tensor(y) and not interop.is_tensor(value):
        value = interop.from_numpy(np.asarray(value), like=y)
    if not interop.is_tensor(y):
        value = interop.to_numpy(value, name="linear: epilogue")
    return interop.cast(value, dtype)


def _rounded(y: Values, result: np.dtype[Any]) -> Values:
    if result == np.int32 and 0 not in y.shape:
        largest = float(abs(y).max())
        if largest > np.iinfo(np.int32).max:
            msg = f"linear: a sum of int8 products reaches {largest:.0f}, outside int32"
            raise OverflowError(msg)
    return interop.cast(y, result)


def activated(y: Values, activation: str | None) -> Values:
    """Apply an activation by name; differentiable for torch."""
    if activation is None:
        return y
    if interop.is_tensor(y):
        return getattr(interop.torch_or_none().nn.functional, activation)(y)
    if activation == "relu":
        return np.maximum(y, 0)
    if activation == "silu":
        with np.errstate(over="ignore"):  # exp(-y) = inf gives the right limit, 0
            return y / (1 + np.exp(-y))
    return y * 0.5 * (1 + np.vectorize(erf, otypes=[y.dtype])(y * np.sqrt(y.dtype.type(0.5))))
