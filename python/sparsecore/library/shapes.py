"""What products give before there are numbers: shape, dtype, memory order; and their errors.

Sizes may be symbols. The messages are those of the core, which sees the numbers.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparsecore import _core, dense, interop
from sparsecore.conv_geometry import ConvGeometry


def product(
    x: Tensor,
    values: Tensor,
    sizes: Sequence[int],
    *,
    by_rows: bool,
    epilogue: tuple[Tensor | None, Tensor | None, Tensor | None, str | None],
    name: str,
) -> Tensor:
    """Return an empty result.

    `sizes` are rows and columns of the matrix, or of its transpose if that is meant; the epilogue
    is scale, bias, residual and activation.
    """
    scale, bias, residual, activation = epilogue
    rows, columns = sizes
    _check_device(x, str(values.device), f"{name}: X")
    shape = _layer_shape(x, rows, columns) if by_rows else _shape(x, rows, columns, name)
    dtype = _core.product_dtype(name, _like(values), _like(x), scale is not None)
    for what, vector in (("scale", scale), ("bias", bias)):
        if vector is not None:
            _check_vector(vector, rows, dtype, f"{name}: {what}")
    if residual is not None:
        _check_residual(residual, shape, dtype, name)
    _check_activation(activation, dtype, name)
    result: Tensor = dense.ordered_like(x, shape, getattr(torch, dtype.name))
    return result


def sampled(u: Tensor, v: Tensor, sizes: Sequence[int], shape: Sequence[int]) -> Tensor:
    """Return an empty result of `shape`, the values'; `sizes` are the matrix's rows and columns."""
    name, (rows, columns) = "csr_sddmm", sizes
    for what, operand in (("U", u), ("V", v)):
        _check_rank(operand, f"{name}: {what}")
    dtype = _core.sddmm_dtype(_like(u), _like(v))
    if u.shape[0] != rows:
        msg = f"{name}: U has {u.shape[0]} rows, A has {rows} rows"
        raise ValueError(msg)
    if v.shape[0] != columns:
        msg = f"{name}: V has {v.shape[0]} rows, A has {columns} columns"
        raise ValueError(msg)
    width = [1 if t.ndim == 1 else t.shape[1] for t in (u, v)]
    if width[0] != width[1]:
        msg = f"{name}: U has {width[0]} columns, V has {width[1]}"
        raise ValueError(msg)
    return u.new_empty(list(shape), dtype=getattr(torch, dtype.name))


def convolved(
    x: Tensor,
    values: Tensor,
    sizes: Sequence[int],
    geometry: ConvGeometry,
    epilogue: tuple[Tensor | None, Tensor | None, Tensor | None, str | None],
) -> Tensor:
    """Return an empty result; `sizes` are the weight's rows and columns, the rest as `product`."""
    name, (rows, columns) = "conv2d", sizes
    scale, bias, residual, activation = epilogue
    _check_device(x, "cpu", f"{name}: x")
    for what, images in (("x", x), ("residual", residual)):
        if images is not None and images.ndim != 4:
            msg = (
                f"{name}: {what} has {images.ndim} dimensions, expected 4: images, channels, "
                "height, width"
            )
            raise TypeError(msg)
    dtype = _core.product_dtype(name, _like(values), _like(x), scale is not None)
    channels = conv_channels(columns, geometry)
    if x.shape[1] != channels:
        msg = f"{name}: x has {x.shape[1]} channels, expected {channels}"
        raise ValueError(msg)
    shape = [x.shape[0], rows, *conv_size(x, geometry)]
    for what, vector in (("scale", scale), ("bias", bias)):
        if vector is not None:
            _check_vector(vector, rows, dtype, f"{name}: {what}")
    if residual is not None:
        _check_residual(residual, shape, dtype, name)
    _check_activation(activation, dtype, name)
    return _ordered_images(x, shape, getattr(torch, dtype.name))


def conv_channels(columns: int, geometry: ConvGeometry) -> int:
    """Return how many channels images have, for a weight of so many columns."""
    return columns // (geometry.kernel_size[0] * geometry.kernel_size[1]) * geometry.groups


def conv_size(x: Tensor, geometry: ConvGeometry) -> list[int]:
    """Return height and width of a convolution's result.

    Raises
    ------
    ValueError
        Where the images are smaller than the kernel.
    """
    g = geometry
    spans = tuple(d * (k - 1) + 1 for k, d in zip(g.kernel_size, g.dilation, strict=True))
    padded = [size + 2 * p for size, p in zip(x.shape[2:], g.padding, strict=True)]
    room = [size - span for size, span in zip(padded, spans, strict=True)]
    if room[0] < 0 or room[1] < 0:
        msg = (
            f"conv2d: x is {x.shape[2]} x {x.shape[3]}, padded by {g.padding} smaller than the "
            f"kernel's span {spans}"
        )
        raise ValueError(msg)
    return [left // step + 1 for left, step in zip(room, g.stride, strict=True)]


def _check_device(x: Tensor, expected: str, what: str) -> None:
    """Raise where x is neither on the matrix's device nor on none at all."""
    if str(x.device) not in (expected, "meta"):
        msg = f"{what} is on device {str(x.device)!r}, expected {expected!r}"
        raise TypeError(msg)


def _check_activation(activation: str | None, result: Any, name: str) -> None:
    if activation is not None and result.kind == "i":
        msg = f"{name}: an activation needs a floating result, got {result}"
        raise TypeError(msg)


def _shape(x: Tensor, rows: int, columns: int, name: str) -> list[int]:
    _check_rank(x, f"{name}: X")
    if x.shape[0] != columns:
        msg = f"{name}: X has {x.shape[0]} rows, A has {columns} columns"
        raise ValueError(msg)
    return [rows, *x.shape[1:]]


def _layer_shape(x: Tensor, rows: int, columns: int) -> list[int]:
    if x.ndim == 0:
        msg = "linear: x has no axis, expected (..., features)"
        raise TypeError(msg)
    if x.shape[-1] != columns:
        msg = f"linear: x has {x.shape[-1]} features, A has {columns} columns"
        raise ValueError(msg)
    return [*x.shape[:-1], rows]


def _check_rank(x: Tensor, what: str) -> None:
    if x.ndim not in (1, 2):
        msg = f"{what} has {x.ndim} dimensions, expected 1 or 2"
        raise TypeError(msg)


def _check_vector(vector: Tensor, rows: int, result: Any, what: str) -> None:
    if vector.ndim != 1:
        msg = f"{what} has {vector.ndim} dimensions, expected 1"
        raise TypeError(msg)
    kind = interop.numpy_dtype(vector.dtype)
    if kind.name not in interop.VALUE_DTYPES:
        msg = f"{what} has dtype {kind}, expected float64, float32, float16, bfloat16 or int8"
        raise TypeError(msg)
    if vector.shape[0] != rows:
        msg = f"{what} has {vector.shape[0]} entries, A has {rows} rows"
        raise ValueError(msg)
    if not vector.is_floating_point() or result.kind == "i":
        msg = f"{what} is {kind}, the result {result}; both must be floating"
        raise TypeError(msg)


def _check_residual(residual: Tensor, shape: list[int], result: Any, name: str) -> None:
    if list(residual.shape) != shape:
        got, want = tuple(residual.shape), tuple(shape)
        msg = f"{name}: residual has shape {got}, expected {want}"
        raise ValueError(msg)
    kind = interop.numpy_dtype(residual.dtype)
    if kind != result:
        msg = f"{name}: residual is {kind}, the result is {result}"
        raise TypeError(msg)


def _like(x: Tensor) -> Any:
    return np.empty(0, interop.numpy_dtype(x.dtype))


def _ordered_images(x: Tensor, shape: list[int], dtype: torch.dtype) -> Tensor:
    """Return empty images in the memory order of x: contiguous or channels_last."""
    _, channels, height, width = x.shape
    is_wide = channels > 1 and height * width > 1
    if is_wide and x.stride(1) == 1 and x.stride(3) != 1:
        images, rows, high, wide = shape
        return x.new_empty([images, high, wide, rows], dtype=dtype).permute(0, 3, 1, 2)
    return x.new_empty(shape, dtype=dtype)
