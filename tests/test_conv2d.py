"""conv2d against the formula: geometries, sizes around a vector, dtypes, blocks, epilogues."""

import itertools
import math

import numpy as np
import pytest

import cases
import conv_cases
import oracle
import sparsecore as sc
from cases import MIXES, Mix
from conv_cases import Geometry
from oracle import F32, F64, I8

KERNELS = ((1, 1), (1, 3), (3, 3), (5, 2), (7, 7))
STRIDES = ((1, 1), (2, 2), (3, 3), (1, 2), (2, 1), (3, 2))
PADDINGS = ((0, 0), (1, 1), (2, 2), (0, 2), (1, 8), (9, 3))
SAME_F32 = Mix(F32, F32)


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_geometries(kernel):
    """Every stride, padding (beyond the kernel, too), dilation and number of groups."""
    rng = np.random.default_rng(80)
    for number, (stride, padding, dilation) in enumerate(
        itertools.product(STRIDES, PADDINGS, ((1, 1), (2, 2), (1, 2)))
    ):
        groups = (1, 2, 4)[number % 3]
        g = Geometry(kernel, stride, padding, dilation, groups)
        size = (3 + number % 9, 1 + number % 14)
        if min(g.out_size(size)) < 1:
            size = (size[0] + 12, size[1] + 12)
        W = conv_cases.weights(rng, 8, 4, g, 0.5, F32)
        x = cases.numbers(rng, (1 + number % 3, 4, *size), F32)
        x = conv_cases.channels_last(x) if number % 2 else x
        conv_cases.check(W, x, g, SAME_F32)


@pytest.mark.usefixtures("target", "tuned_as_amd")
@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (1, 3)], ids=str)
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_widths_around_a_vector(dtype, stride):
    """Images of 1 ... 2 vectors + 1 columns, and 1 ... 5 of them: tiles of rows and of images."""
    rng = np.random.default_rng(81)
    lanes = {"avx512": 64, "avx2": 32, "baseline": 16}[sc.cpu.target()] // dtype.itemsize
    g = Geometry((3, 3), stride, (1, 1))
    for width in range(1, 2 * lanes + 2):
        W = conv_cases.weights(rng, 6, 3, g, 0.6, dtype)
        for height in (1 + width % 4, width):
            x = cases.numbers(rng, (1 + width % 5, 3, height, width), dtype)
            y = conv_cases.check(W, x, g, Mix(dtype, dtype))
            last = conv_cases.check(W, conv_cases.channels_last(x), g, Mix(dtype, dtype))
            assert (oracle.bits(y) == oracle.bits(last)).all(), x.shape


@pytest.mark.usefixtures("target", "tuned_as_amd")
@pytest.mark.parametrize("mix", MIXES, ids=str)
def test_dtypes(mix):
    rng = np.random.default_rng(82)
    for number, stride in enumerate(((1, 1), (2, 2), (2, 3))):
        g = Geometry((3, 2), stride, (1, 2), groups=1 + number % 2)
        for size in ((1, 1), (5, 6), (9, 17), (4, 70)):
            W = conv_cases.weights(rng, 10, 6, g, 0.4, mix.values)
            x = cases.numbers(rng, (2, 6, *size), mix.x)
            for order in ("NCHW", "channels last"):
                conv_cases.check(W, conv_cases.ORDERS[order](x), g, mix, order)


@pytest.mark.usefixtures("target", "tuned_as_amd")
@pytest.mark.parametrize("mix", [SAME_F32, Mix(I8, I8)], ids=str)
def test_several_blocks(mix):
    """Several blocks of 512 inner columns, more than 128 channels, more than 64 columns."""
    rng = np.random.default_rng(83)
    for m, channels, groups, density in (
        (300, 200, 1, 0.03),
        (130, 60, 1, 0.5),
        (260, 128, 2, 0.1),
    ):
        g = Geometry((3, 3), (1, 1), (1, 1), groups=groups)
        W = conv_cases.weights(rng, m, channels, g, density, mix.values)
        for size in ((3, 4), (7, 9)):
            x = cases.numbers(rng, (2, channels, *size), mix.x)
            for order in ("NCHW", "channels last"):
                conv_cases.check(W, conv_cases.ORDERS[order](x), g, mix, order)
    g = Geometry((1, 1))
    for channels in (511, 512, 513, 1025):
        W = conv_cases.weights(rng, 5, channels, g, 0.1, mix.values)
        conv_cases.check(W, cases.numbers(rng, (1, channels, 3, 3), mix.x), g, mix)


@pytest.mark.usefixtures("target")
def test_one_group_a_channel():
    rng = np.random.default_rng(84)
    for channels, factor in ((1, 3), (7, 1), (40, 2)):
        g = Geometry((3, 3), (1, 1), (1, 1), groups=channels)
        W = conv_cases.weights(rng, channels * factor, channels, g, 0.6, F32)
        x = cases.numbers(rng, (2, channels, 6, 10), F32)
        for order in ("NCHW", "channels last"):
            conv_cases.check(W, conv_cases.ORDERS[order](x), g, SAME_F32, order)


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("mix", [SAME_F32, Mix(I8, I8)], ids=str)
def test_nothing_stored_and_no_images(mix):
    rng = np.random.default_rng(85)
    dtype = oracle.result_dtype(mix.values, mix.x)
    g = Geometry((3, 3), padding=(1, 1))
    W, x = np.zeros((4, 18), mix.values), cases.numbers(rng, (2, 2, 4, 5), mix.x)
    assert not conv_cases.check(W, x, g, mix).any()
    conv_cases.check(W, x, g, mix, residual=np.full((2, 4, 4, 5), 3, dtype))
    out = np.full((2, 4, 4, 5), 77, dtype)
    assert not sc.conv2d(x, sc.CSR.from_dense(W), **g.arguments(), out=out).any()
    full = np.ones((4, 18), mix.values)
    for layout in (np.ascontiguousarray, conv_cases.channels_last):
        y = sc.conv2d(layout(x[:0]), sc.CSR.from_dense(full), **g.arguments())
        assert (y.shape, y.dtype) == ((0, 4, 4, 5), dtype)
    # No channels in: a sum of nothing. None out: a result of nothing.
    y = conv_cases.check(np.zeros((4, 0), mix.values), x[:, :0], g, mix)
    assert y.shape == (2, 4, 4, 5)
    y = sc.conv2d(x, sc.CSR.from_dense(np.zeros((0, 18), mix.values)), **g.arguments())
    assert y.shape == (2, 0, 4, 5)


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("mix", cases.FLOAT_MIXES, ids=str)
def test_epilogue(mix):
    rng = np.random.default_rng(86)
    g = Geometry((2, 2), padding=(1, 0))
    W = conv_cases.weights(rng, 5, 3, g, 0.5, mix.values)
    x = cases.numbers(rng, (3, 3, 4, 9), mix.x)
    shape = (3, 5, *g.out_size((4, 9)))
    parts = {
        "scale": cases.factors(rng, 5, F32),
        "bias": cases.numbers(rng, 5, mix.x),
        "residual": cases.numbers(rng, shape, mix.x),
    }
    for names in itertools.chain.from_iterable(itertools.combinations(parts, n) for n in (1, 2, 3)):
        conv_cases.check(W, x, g, mix, str(names), **{name: parts[name] for name in names})
    want = conv_cases.convolved(W, x, g, mix.x, **parts)
    # An activation stretches an error 1.13 times at most; its own is a few units of the last place.
    tolerance = 1.13 * want.tolerance + 8 * oracle.unit(mix.x) * np.abs(want.value)
    v = want.value
    for activation, value in (
        ("relu", np.maximum(v, 0)),
        ("gelu", v * (1 + np.vectorize(math.erf)(v / math.sqrt(2))) / 2),
        ("silu", v / (1 + np.exp(-v))),
    ):
        y = sc.conv2d(x, sc.CSR.from_dense(W), **g.arguments(), **parts, activation=activation)
        oracle.check(y, oracle.Expected(value, mix.x, tolerance), activation)


def test_int8_sums_that_pass_int32():
    g, most = Geometry((1, 1)), 131071  # (2**31 - 1) // (128 * 128)
    for channels in (most, most + 2):
        A = sc.CSR.from_dense(np.full((1, channels), -128, I8))
        x = np.full((1, channels, 1, 2), -128, I8)
        if channels == most:
            assert (sc.conv2d(x, A, **g.arguments()) == most * 128 * 128).all()
        else:
            with pytest.raises(OverflowError, match="int32"):
                sc.conv2d(x, A, **g.arguments())


def test_one_image_without_its_axis():
    rng = np.random.default_rng(87)
    g = Geometry((3, 3), padding=(1, 1))
    A = sc.CSR.from_dense(conv_cases.weights(rng, 4, 2, g, 0.5, F32))
    x, residual = cases.numbers(rng, (2, 5, 6), F32), cases.numbers(rng, (4, 5, 6), F32)
    want = sc.conv2d(x[None], A, **g.arguments(), residual=residual[None])[0]
    y = sc.conv2d(x, A, **g.arguments(), residual=residual)
    np.testing.assert_array_equal(y, want)
    out = np.empty_like(want)
    assert sc.conv2d(x, A, **g.arguments(), residual=residual, out=out) is out
    np.testing.assert_array_equal(out, want)
    np.testing.assert_array_equal(
        sc.conv2d(x.tolist(), A.with_data(A.data.astype(F64)), **g.arguments()).shape, want.shape
    )
