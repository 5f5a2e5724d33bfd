"""The largest element of each window of an image: the core's pool, as a chain runs it."""

import itertools

import numpy as np
import pytest

import cases
import conv_cases
import oracle
from oracle import F32, F64
from sparsecore import _core

KERNELS = ((1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (3, 2), (1, 5))
STRIDES = ((1, 1), (2, 2), (3, 3), (5, 4), (2, 1))


def pooled(x, kernel, stride, padding=(0, 0), threads=1):
    """Pool (n, c, h, w) images."""
    chain = _core.Chain(
        1, [(_core.MaxPool(kernel, stride, padding), 0, None, None, None, None)], [1]
    )
    return _core.run_chain(chain, threads, x)


def expected(x, kernel, stride, padding=(0, 0)):
    """Take the largest of each window; a NaN is larger than all, what lies outside smaller."""
    sides = [(0, 0), (0, 0), *((p, p) for p in padding)]
    padded = np.pad(x, sides, constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(2, 3))
    return windows[:, :, :: stride[0], :: stride[1]].max(axis=(-2, -1))


def check(x, kernel, stride, padding=(0, 0), threads=1):
    got, want = pooled(x, kernel, stride, padding, threads), expected(x, kernel, stride, padding)
    assert got.dtype == x.dtype
    assert np.array_equal(got, want, equal_nan=True), (x.shape, kernel, stride, padding)
    return got


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_kernels_strides_and_paddings(dtype):
    rng = np.random.default_rng(190)
    for number, (kernel, stride) in enumerate(itertools.product(KERNELS, STRIDES)):
        for padding in {(0, 0), (kernel[0] // 2, kernel[1] // 2), (0, kernel[1] // 2)}:
            x = cases.numbers(rng, (2, 3, 5 + number % 4, 5 + number % 7), dtype)
            check(x, kernel, stride, padding)


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_widths_around_a_vector(dtype, stride):
    """Images of 1 ... 70 columns; all below zero, so that what lies outside would be seen."""
    rng = np.random.default_rng(191)
    for width in (*range(1, 36), 63, 64, 65, 70):
        x = -1 - np.abs(cases.numbers(rng, (1, 2, 1 + width % 5, width), dtype))
        for kernel, padding in ((1, 0), (2, 1), (3, 1)):
            check(x, (kernel, kernel), (stride, stride), (padding, padding))


@pytest.mark.usefixtures("target")
def test_nan_and_infinity():
    """A NaN takes every window that it is in, an image of nothing but -inf stays that."""
    rng = np.random.default_rng(192)
    x = cases.numbers(rng, (1, 4, 9, 37), F32)
    x[0, 0, 4, 4::7], x[0, 1, 3, 5], x[0, 2, ::2, ::3] = np.nan, np.inf, -np.inf
    x[0, 3] = -np.inf
    for kernel, stride in itertools.product((1, 2, 3, 5), (1, 2, 3)):
        y = check(x, (kernel, kernel), (stride, stride), (kernel // 2, kernel // 2))
        assert (y[0, 3] == -np.inf).all()


@pytest.mark.usefixtures("target")
def test_memory_orders():
    """Of the same bits in each: transposed, cut out, reversed, repeated."""
    rng = np.random.default_rng(193)
    x = cases.numbers(rng, (3, 5, 11, 18), F32)
    wide = np.full((3, 5, 13, 25), np.nan, np.float32)
    wide[:, :, 1:12, 3:21] = x
    orders = {
        "channels last": conv_cases.channels_last(x),
        "cut out": wide[:, :, 1:12, 3:21],
        "columns first": np.ascontiguousarray(x.transpose(3, 2, 1, 0)).transpose(3, 2, 1, 0),
        "reversed": np.ascontiguousarray(x[::-1, ::-1, ::-1, ::-1])[::-1, ::-1, ::-1, ::-1],
    }
    want = pooled(x, (3, 3), (2, 2), (1, 1))
    for name, other in orders.items():
        got = pooled(other, (3, 3), (2, 2), (1, 1))
        assert (oracle.bits(got) == oracle.bits(want)).all(), name
    repeated = np.broadcast_to(x[:1, :1, :, :1], x.shape)
    check(repeated, (3, 3), (2, 2), (1, 1))


def test_sizes():
    """No images, no channels, one pixel; and so many that threads share them."""
    rng = np.random.default_rng(194)
    for shape in ((0, 3, 5, 5), (2, 0, 5, 5), (1, 1, 1, 1), (40, 30, 32, 32)):
        x = cases.numbers(rng, shape, F32)
        got = [check(x, (3, 3), (2, 2), (1, 1), threads) for threads in (1, 2)]
        assert np.array_equal(*got)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [
        ((0, 1), (1, 1), (0, 0)),
        ((2, 2), (0, 1), (0, 0)),
        ((3, 3), (1, 1), (2, 0)),
        ((2, 2), (1, 1), (0, -1)),
        ((-3, 2), (1, 1), (0, 0)),
        ((2, 2), (1, -2), (0, 0)),
    ],
)
def test_windows_that_may_miss_the_image(kernel, stride, padding):
    with pytest.raises(ValueError, match="max_pool2d: expected a kernel and strides of 1 or more"):
        _core.MaxPool(kernel, stride, padding)


def test_bad_images():
    x = np.zeros((1, 1, 2, 5), np.float32)
    with pytest.raises(ValueError, match="max_pool2d: x is 2 x 5, smaller than the kernel"):
        pooled(x, (3, 3), (1, 1))
    with pytest.raises(ValueError, match="smaller than the kernel"):
        pooled(x[:, :, :0], (1, 1), (1, 1))
    with pytest.raises(TypeError, match="x is float16, expected float32 or float64"):
        pooled(x.astype(np.float16), (1, 1), (1, 1))
    with pytest.raises(TypeError, match="x has 3 dimensions, expected 4"):
        pooled(x[0], (1, 1), (1, 1))
