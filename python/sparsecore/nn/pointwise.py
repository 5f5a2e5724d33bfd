"""1 x 1 convolutions as products: with rows for pixels, or with a matrix for each image.

The channels of a pixel lie together in channels_last order: there the images are the left side of a
linear layer as they are. Else an image is a matrix of channels by pixels, the right side of a
product; its transpose is handed to the same function, whose result follows its memory order.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sparsecore import ops, torch_state
from sparsecore.conv_geometry import ConvGeometry
from sparsecore.formats import Sparse24
from sparsecore.library import shapes

__all__ = ["pixels", "pointwise"]


def pixels(x: Tensor, channels: int, geometry: ConvGeometry) -> Tensor:
    """Return the pixels of images, (n, c, h, w), that a 1 x 1 kernel meets: (n, c, h', w').

    Raises
    ------
    TypeError
        Where `x` has another number of dimensions.
    ValueError
        Where it has another number of channels, or no pixels with its padding.
    """
    if x.ndim != 4:
        msg = f"conv2d: x has {x.ndim} dimensions, expected 4: images, channels, height, width"
        raise TypeError(msg)
    if x.shape[1] != channels:
        msg = f"conv2d: x has {x.shape[1]} channels, expected {channels}"
        raise ValueError(msg)
    shapes.conv_size(x, geometry)
    (vertical, horizontal), (down, right) = geometry.padding, geometry.stride
    if vertical or horizontal:
        x = F.pad(x, (horizontal, horizontal, vertical, vertical))
    return x if down == right == 1 else x[:, :, ::down, ::right]


def pointwise(
    x: Tensor,
    A: Sparse24,
    bias: Tensor | None,
    *,
    geometry: ConvGeometry,
    activation: Any = None,
    residual: Tensor | None = None,
    scale: Tensor | None = None,
) -> Tensor:
    """Convolve: ``activation(conv(x, A) * scale + bias + residual)``, differentiable.

    Parameters
    ----------
    x : (n, c, h, w) or (c, h, w)
        The result has its memory order (torch's contiguous or channels_last).
    A : Sparse24, (m, c)
    bias, scale : (m,), optional
    geometry : ConvGeometry
        Of a 1 x 1 kernel without groups.
    activation : {"relu", "gelu", "silu"}, optional
    residual : like the result, optional

    Raises
    ------
    ValueError, TypeError
        As `sparsecore.conv2d`.
    """
    if residual is not None and not isinstance(residual, Tensor):
        msg = f"conv2d: residual is a {type(residual).__name__}, expected a torch.Tensor"
        raise TypeError(msg)
    if x.ndim == 3:
        added = None if residual is None else residual[None]
        options: dict[str, Any] = {"activation": activation, "residual": added, "scale": scale}
        return pointwise(x[None], A, bias, geometry=geometry, **options)[0]
    x, residual = torch_state.under_autocast(x, residual, to=A.dtype)
    x = pixels(x, A.shape[1], geometry)
    shape = (len(x), A.shape[0], *x.shape[2:])
    if residual is not None and residual.shape != shape:
        msg = f"conv2d: residual has shape {tuple(residual.shape)}, expected {shape}"
        raise ValueError(msg)
    options = {"activation": activation, "scale": scale}
    if x.stride(1) == 1 or len(x) == 0:
        added = None if residual is None else residual.permute(0, 2, 3, 1)
        y: Tensor = ops.linear(x.permute(0, 2, 3, 1), A, bias, residual=added, **options)
        return y.permute(0, 3, 1, 2)
    given = (x, A.values, bias, residual, scale)
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in given):
        rows = [_image(x, residual, i, A, bias, None, options).t() for i in range(len(x))]
        return torch.stack(rows).view(shape)
    out = x.new_empty(shape)
    for i in range(len(x)):
        _image(x, residual, i, A, bias, _transposed(out[i]), options)
    return out


def _image(
    x: Tensor,
    residual: Tensor | None,
    i: int,
    A: Sparse24,
    bias: Tensor | None,
    out: Tensor | None,
    options: dict[str, Any],
) -> Tensor:
    """Return the pixels of an image's result, (h' w', m)."""
    added = None if residual is None else _transposed(residual[i])
    y: Tensor = ops.linear(_transposed(x[i]), A, bias, residual=added, out=out, **options)
    return y


def _transposed(image: Tensor) -> Tensor:
    """Return (c, h, w) as (h w, c)."""
    return image.flatten(1).t()
