"""conv2d where results are whole vectors wide, and taps are read from planes: strips, offsets."""

import numpy as np
import pytest

import cases
import conv_cases
import oracle
import sparsecore as sc
from cases import MIXES, Mix
from conv_cases import Geometry
from oracle import F32, F64, I8

SAME = Geometry((3, 3), padding=(1, 1))
HALVED = Geometry((3, 3), (2, 2), (1, 1))
# Taller than wide, phases of rows and none, dilated, padded unevenly, groups.
GEOMETRIES = (
    SAME,
    HALVED,
    Geometry((5, 3), (1, 1), (0, 1)),
    Geometry((3, 3), (3, 1), (4, 1), (1, 1)),
    Geometry((2, 5), (3, 2), (1, 4), (2, 1), 2),
    Geometry((3, 3), (1, 1), (2, 2), (2, 2), 4),
    Geometry((4, 3), (2, 1), (3, 1), (3, 1)),
)


def image_width(g: Geometry, width: int) -> int:
    """Return the width of images whose result has so many columns."""
    span = g.dilation[1] * (g.kernel_size[1] - 1) + 1
    return (width - 1) * g.stride[1] + span - 2 * g.padding[1]


@pytest.mark.usefixtures("target", "tuned_as_amd")
@pytest.mark.parametrize("g", GEOMETRIES, ids=str)
def test_geometries(g):
    rng = np.random.default_rng(110)
    for number, width in enumerate((16, 32, 48)):
        for height in (5 + number, 19):
            W = conv_cases.weights(rng, 8, 4, g, 0.5, F32)
            x = cases.numbers(rng, (1 + number, 4, height, image_width(g, width)), F32)
            for order in ("NCHW", "channels last", "turned", "backwards"):
                conv_cases.check(W, conv_cases.ORDERS[order](x), g, Mix(F32, F32), order)


@pytest.mark.usefixtures("target", "tuned_as_amd")
@pytest.mark.parametrize("mix", MIXES, ids=str)
def test_dtypes(mix):
    rng = np.random.default_rng(111)
    for g in (SAME, HALVED):
        W = conv_cases.weights(rng, 10, 6, g, 0.4, mix.values)
        x = cases.numbers(rng, (2, 6, 7, image_width(g, 16)), mix.x)
        conv_cases.check(W, x, g, mix)


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("mix", [Mix(F32, F32), Mix(F64, F64), Mix(I8, I8)], ids=str)
def test_strips_and_blocks(mix):
    """More channels than a block of columns, more rows than a strip, more than 128 results."""
    rng = np.random.default_rng(112)
    for g, channels, height in ((SAME, 90, 9), (SAME, 40, 34), (HALVED, 24, 30)):
        W = conv_cases.weights(rng, 140, channels, g, 0.03, mix.values)
        x = cases.numbers(rng, (2, channels, height, image_width(g, 32)), mix.x)
        bias = None if mix.x == I8 else cases.numbers(rng, (140,), F32)
        y = conv_cases.check(W, x, g, mix, bias=bias)
        A = sc.CSR.from_dense(W)
        for threads in (2, 3):
            shared = sc.conv2d(x, A, bias, **g.arguments(), threads=threads)
            assert (oracle.bits(shared) == oracle.bits(y)).all(), (g, threads)
        alone = sc.conv2d(x[1:], A, bias, **g.arguments())
        assert (oracle.bits(alone) == oracle.bits(y[1:])).all(), g


@pytest.mark.usefixtures("target")
def test_a_plan_follows_the_size_of_its_images():
    rng = np.random.default_rng(113)
    W = conv_cases.weights(rng, 12, 5, SAME, 0.3, F32)
    plan = sc.ConvPlan(sc.CSR.from_dense(W), **SAME.arguments())
    empty = plan.nbytes
    for width in (16, 32, 16, 7, 48):
        x = cases.numbers(rng, (1, 5, 11, width), F32)
        want = conv_cases.convolved(W, x, SAME, F32)
        oracle.check(sc.conv2d(x, plan), want, width)
    assert plan.nbytes - empty in range(2 * (W != 0).sum(), 4 * W.size)


@pytest.mark.usefixtures("target", "tuned_as_amd")
@pytest.mark.parametrize("g", [SAME, HALVED], ids=str)
def test_what_no_entry_meets_is_skipped(g):
    """One NaN in the images reaches the results in which a stored weight meets it, alone."""
    rng = np.random.default_rng(114)
    W = conv_cases.weights(rng, 9, 4, g, 0.2, F32)
    W[0] = 0
    plan = sc.ConvPlan(sc.CSR.from_dense(W), **g.arguments())
    x = cases.numbers(rng, (2, 4, 6, image_width(g, 32)), F32)
    clean = sc.conv2d(x, plan)
    for place in [(0, 0, 0, 0), *(tuple(rng.integers(x.shape)) for _ in range(12))]:
        bad = x.copy()
        bad[place] = np.nan
        met = np.zeros(x.shape)
        met[place] = 1
        reached = conv_cases.by_groups((W != 0).astype(F64), conv_cases.patches(met, g), g)
        wanted = np.where(conv_cases.as_images(reached, x, g) != 0, np.nan, clean)
        np.testing.assert_array_equal(sc.conv2d(bad, plan), wanted, str(place))
