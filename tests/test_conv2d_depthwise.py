"""conv2d where a group has one input channel: planes of taps, rows of pixels, any order, dtype."""

import itertools

import numpy as np
import pytest

import cases
import conv_cases
import oracle
import sparsecore as sc
from cases import MIXES, Mix
from conv_cases import ORDERS, Geometry
from oracle import F32, F64

SAME = Geometry((3, 3), padding=(1, 1))
HALVED = Geometry((3, 3), (2, 2), (1, 1))
# Strides with phases that no tap meets, paddings beyond the kernel, one row, one column.
GEOMETRIES = (
    SAME,
    HALVED,
    Geometry((5, 5), (1, 1), (2, 2)),
    Geometry((7, 7), (2, 2), (3, 3)),
    Geometry((3, 3), (1, 2), (0, 5)),
    Geometry((2, 3), (4, 3), (6, 1), (2, 3)),
    Geometry((3, 3), (2, 2), (2, 2), (2, 2)),
    Geometry((1, 5), (1, 1), (0, 2)),
    Geometry((4, 1), (3, 1), (1, 0)),
)
BOTH = ("NCHW", "channels last")


def depthwise(g: Geometry, channels: int) -> Geometry:
    """Return the geometry with a group for each channel."""
    return Geometry(g.kernel_size, g.stride, g.padding, g.dilation, channels)


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("g", GEOMETRIES, ids=str)
def test_geometries(g):
    """Odd sizes, rest channels, every density, one output channel or two of an input channel."""
    rng = np.random.default_rng(140)
    sizes = itertools.product(((3, 1), (21, 1), (33, 2)), ((7, 9), (12, 37)), (0.4, 1.0))
    for (channels, multiplier), size, density in sizes:
        own = depthwise(g, channels)
        W = conv_cases.weights(rng, channels * multiplier, channels, own, density, F32)
        x = cases.numbers(rng, (2, channels, *size), F32)
        for order in BOTH:
            conv_cases.check(W, ORDERS[order](x), own, Mix(F32, F32), order)


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("mix", MIXES, ids=str)
def test_dtypes_and_orders(mix):
    rng = np.random.default_rng(141)
    for g in (SAME, HALVED):
        own = depthwise(g, 18)
        W = conv_cases.weights(rng, 18, 18, own, 0.6, mix.values)
        x = cases.numbers(rng, (2, 18, 6, 11), mix.x)
        for order in ORDERS:
            conv_cases.check(W, ORDERS[order](x), own, mix, order)


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("density", [0.5, 1.0])
def test_tiles_and_threads(density):
    """More rows and columns than a tile, more channels than a block; shared or not, equal bits."""
    rng = np.random.default_rng(142)
    for channels, size in ((2, (5, 1100)), (3, (150, 70)), (40, (9, 8))):
        for g in (SAME, HALVED):
            own = depthwise(g, channels)
            W = conv_cases.weights(rng, channels, channels, own, density, F32)
            A = sc.CSR.from_dense(W)
            for order in BOTH:
                x = ORDERS[order](cases.numbers(rng, (2, channels, *size), F32))
                y = conv_cases.check(W, x, own, Mix(F32, F32), order, threads=1)
                for threads in (2, 5):
                    again = sc.conv2d(x, A, **own.arguments(), threads=threads)
                    assert (oracle.bits(again) == oracle.bits(y)).all(), (own, order, threads)


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("activation", [None, "relu", "gelu", "silu"])
@pytest.mark.parametrize("order", BOTH)
def test_epilogue(order, activation):
    rng = np.random.default_rng(143)
    own = depthwise(SAME, 37)
    W = conv_cases.weights(rng, 37, 37, own, 0.7, F32)
    x = ORDERS[order](cases.numbers(rng, (2, 37, 6, 13), F32))
    used = {name: cases.numbers(rng, (37,), F32) for name in ("scale", "bias")}
    for other in BOTH:
        residual = ORDERS[other](cases.numbers(rng, x.shape, F32))
        v = conv_cases.check(W, x, own, Mix(F32, F32), residual=residual, **used)
        y = sc.conv2d(x, sc.CSR.from_dense(W), **own.arguments(), residual=residual, **used,
                      activation=activation)  # fmt: skip
        alone = sc.linear(v.reshape(-1, 1), sc.CSR.from_dense(np.ones((1, 1), F32)),
                          activation=activation)  # fmt: skip
        np.testing.assert_array_equal(y, alone.reshape(v.shape))


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("order", BOTH)
@pytest.mark.parametrize("g", [SAME, HALVED], ids=str)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_no_entry_meets_is_skipped(bad, g, order):
    """A NaN anywhere in the images reaches the results in which a stored weight meets it, alone."""
    rng = np.random.default_rng(144)
    own = depthwise(g, 17)
    W = np.abs(conv_cases.weights(rng, 17, 17, own, 0.5, F32))
    plan = sc.ConvPlan(sc.CSR.from_dense(W), **own.arguments())
    x = ORDERS[order](cases.numbers(rng, (1, 17, 5, 6), F32))
    clean = sc.conv2d(x, plan)
    places = itertools.product((0, 8, 16), range(5), range(6))
    for place in places:
        spoilt = x.copy("K")
        spoilt[0, *place] = bad
        met = np.zeros(x.shape)
        met[0, *place] = 1
        reached = conv_cases.by_groups((W != 0).astype(F64), conv_cases.patches(met, own), own)
        wanted = np.where(conv_cases.as_images(reached, x, own) != 0, bad, clean)
        np.testing.assert_array_equal(sc.conv2d(spoilt, plan), wanted, str(place))


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("order", BOTH)
def test_a_stored_nan_meets_the_padding(order):
    """Zeros beyond the edge are numbers: times NaN or infinity they give NaN, in either order."""
    rng = np.random.default_rng(145)
    own = depthwise(SAME, 19)
    for tap, bad in itertools.product(range(9), (np.nan, np.inf)):
        W = conv_cases.weights(rng, 19, 19, own, 0.6, F32)
        W[3, tap] = bad
        x = ORDERS[order](np.abs(cases.numbers(rng, (1, 19, 4, 11), F32)) + 1)
        y = sc.conv2d(x, sc.CSR.from_dense(W), **own.arguments())
        sides = conv_cases.patches(x, own).reshape(19, 9, 4, 11)
        wanted = np.full((4, 11), bad) if np.isnan(bad) else np.where(sides[3, tap], bad, np.nan)
        np.testing.assert_array_equal(y[0, 3], wanted.astype(F32), str((tap, bad)))
        assert np.isfinite(np.delete(y[0], 3, 0)).all()


@pytest.mark.parametrize(
    ("multiplier", "g"),
    [
        (5, SAME),
        (1, Geometry((3, 3), (5, 1), (1, 1))),
        (1, Geometry((2, 2), (1, 1), (70, 70), (129, 129))),
        (1, Geometry((17, 17), (1, 1), (8, 8))),
        (2, Geometry((1, 1))),
    ],
    ids=str,
)
def test_what_is_not_summed_tap_by_tap(multiplier, g):
    """Beyond the limits of that way, weights are packed as any."""
    rng = np.random.default_rng(146)
    own = depthwise(g, 6)
    W = conv_cases.weights(rng, 6 * multiplier, 6, own, 0.5, F32)
    assert sc.ConvPlan(sc.CSR.from_dense(W), **own.arguments()).kernel == "packed_patches"
    conv_cases.check(W, cases.numbers(rng, (2, 6, 20, 33), F32), own, Mix(F32, F32))


def test_a_plan_keeps_and_replaces_its_values():
    rng = np.random.default_rng(147)
    own = depthwise(SAME, 24)
    W = conv_cases.weights(rng, 24, 24, own, 0.5, F32)
    A = sc.CSR.from_dense(W)
    plan = sc.ConvPlan(A, **own.arguments())
    np.testing.assert_array_equal(plan.unpack(), A.data)
    assert plan.nbytes in range(5 * A.nnz, 20 * W.size)
    assert plan.kernel == "depthwise"
    fresh = cases.numbers(rng, (A.nnz,), F32)
    plan.update(fresh)
    np.testing.assert_array_equal(plan.unpack(), fresh)
    W[W != 0] = fresh
    for order in BOTH:
        x = ORDERS[order](cases.numbers(rng, (1, 24, 7, 9), F32))
        oracle.check(sc.conv2d(x, plan), conv_cases.convolved(W, x, own, F32), order)
