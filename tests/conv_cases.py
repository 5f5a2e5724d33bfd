"""Convolutions to test, and what they must give: the obvious formula in float64."""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import cases
import oracle
import sparsecore as sc
from cases import Mix
from oracle import F32, Array, DType, Expected, Float64

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Geometry:
    """What conv2d takes by these names."""

    kernel_size: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    @property
    def taps(self) -> int:
        """Places of the kernel."""
        return self.kernel_size[0] * self.kernel_size[1]

    def out_size(self, size: Pair) -> Pair:
        """Return the height and width that images of a size give; below 1 where none."""
        axes = zip(size, self.kernel_size, self.stride, self.padding, self.dilation, strict=True)
        height, width = ((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes)
        return (height, width)

    def arguments(self) -> dict[str, Any]:
        """Return the keywords of a call."""
        return asdict(self)

    def __str__(self) -> str:
        """Return the name that the tests go by."""
        parts = (self.kernel_size, self.stride, self.padding, self.dilation)
        texts = (f"{a}x{b}" for a, b in parts)
        return "k{} s{} p{} d{} g{}".format(*texts, self.groups)


# ---- the oracle ----


def patches(x: Array, g: Geometry) -> Float64:
    """Return the right side, (channels * taps, images * pixels): what each tap meets where."""
    n, c, h, w = x.shape
    (ph, pw), (sh, sw), (dh, dw) = g.padding, g.stride, g.dilation
    padded = np.zeros((n, c, h + 2 * ph, w + 2 * pw))
    padded[:, :, ph : ph + h, pw : pw + w] = x
    height, width = g.out_size((h, w))
    met = [
        padded[:, :, y * dh :, x * dw :][:, :, ::sh, ::sw][:, :, :height, :width]
        for y, x in itertools.product(*map(range, g.kernel_size))
    ]
    return np.stack(met, 2).transpose(1, 2, 0, 3, 4).reshape(c * g.taps, n * height * width)


def by_groups(W: Array, X: Array, g: Geometry) -> Array:
    """Return the product of each group's weights and its rows of the right side."""
    sides = zip(np.split(W, g.groups), np.split(X, g.groups), strict=True)
    return np.concatenate([w @ x for w, x in sides])


def as_images(Y: Array, x: Array, g: Geometry) -> Array:
    """Return a matrix of channels and columns as (images, channels, height, width)."""
    height, width = g.out_size(x.shape[2:])
    return Y.reshape(len(Y), len(x), height, width).transpose(1, 0, 2, 3)


def convolved(
    W: Array,
    x: Array,
    g: Geometry,
    dtype: DType,
    *,
    scale: Array | None = None,
    bias: Array | None = None,
    residual: Array | None = None,
) -> Expected:
    """Return ``conv(x, W) * scale + bias + residual`` and the error allowed for it.

    The numbers of roundings are the products and additions of a row, and one each for the scale,
    the bias and the residual.
    """
    W, X = W.astype(np.float64), patches(x, g)
    factor = np.ones(len(W)) if scale is None else scale.astype(np.float64)
    value = as_images(by_groups(W, X, g) * factor[:, None], x, g)
    magnitude = as_images(by_groups(np.abs(W), np.abs(X), g) * np.abs(factor[:, None]), x, g)
    for term in (None if bias is None else bias[:, None, None], residual):
        if term is not None:
            value = value + term.astype(np.float64)
            magnitude = magnitude + np.abs(term.astype(np.float64))
    terms = (W != 0).sum(axis=1)[:, None, None] + 4
    return oracle.expected(value, magnitude, terms, dtype)


# ---- operands ----


def weights(
    rng: np.random.Generator, m: int, channels: int, g: Geometry, density: float, dtype: DType
) -> Array:
    """Return random weights, (m, channels / groups * taps), the middle row empty."""
    W = cases.random_dense(rng, (m, channels // g.groups * g.taps), density, dtype)
    if m > 2:
        W[m // 2] = 0
    return W


def channels_last(x: Array) -> Array:
    """Return a copy whose channels lie together."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def every_second(x: Array) -> Array:
    """Return an equal view on every second element of each axis of a larger array."""
    wide = np.full([2 * size + 1 for size in x.shape], cases.BESIDE, x.dtype)
    view = wide[tuple(slice(1, 1 + 2 * size, 2) for size in x.shape)]
    view[...] = x
    return view


def cropped(x: Array) -> Array:
    """Return an equal view inside larger images, in the order of x's axes."""
    wide = np.full([size + 2 for size in x.shape], cases.BESIDE, x.dtype)
    view = wide[tuple(slice(1, 1 + size) for size in x.shape)]
    view[...] = x
    return view


def backwards(x: Array) -> Array:
    """Return an equal view whose strides are negative."""
    return x[::-1, ::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1, ::-1]


def turned(x: Array) -> Array:
    """Return a copy whose columns lie one after the other."""
    return np.ascontiguousarray(x.swapaxes(2, 3)).swapaxes(2, 3)


# Memory orders of images, as copies.
ORDERS = {
    "NCHW": np.ascontiguousarray,
    "channels last": channels_last,
    "cropped": cropped,
    "cropped, channels last": lambda x: cropped(channels_last(x).transpose(0, 2, 3, 1)).transpose(
        0, 3, 1, 2
    ),
    "every second": every_second,
    "backwards": backwards,
    "turned": turned,
    "misaligned": cases.misaligned,
}


def check(
    W: Array,
    x: Array,
    g: Geometry,
    mix: Mix,
    case: str = "",
    **options: Any,
) -> Array:
    """Convolve by way of a CSR, compare with the oracle, and return the result."""
    if mix.scaled and "scale" not in options:
        options["scale"] = cases.factors(np.random.default_rng(len(W)), len(W), F32)
    dtype = oracle.result_dtype(mix.values, mix.x)
    y = sc.conv2d(x, sc.CSR.from_dense(W), **g.arguments(), **options)
    known = {name: options[name] for name in ("scale", "bias", "residual") if name in options}
    oracle.check(y, convolved(W, x, g, dtype, **known), f"{g}, x {x.shape}, m={len(W)}, {case}")
    return y
