"""conv2d: images, residuals and results in any memory order, and what must not be touched."""

import numpy as np
import pytest

import cases
import conv_cases
import oracle
import sparsecore as sc
from cases import Mix
from conv_cases import ORDERS, Geometry
from oracle import BF16, F16, F32, F64, I8

MIXES = [Mix(d, d) for d in (F64, F32, I8)] + [Mix(F16, F32), Mix(I8, BF16, scaled=True)]
GEOMETRIES = (
    Geometry((3, 3), padding=(1, 1)),
    Geometry((2, 3), (2, 2), (0, 2), (1, 2), groups=2),
    Geometry((1, 1)),
)


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("mix", MIXES, ids=str)
def test_images_in_every_order_give_the_same_bits(mix):
    rng = np.random.default_rng(90)
    for g in GEOMETRIES:
        for size in ((4, 4, 5), (20, 9, 6), (6, 3, 1), (6, 4, 40)):
            W = conv_cases.weights(rng, 6, size[0], g, 0.5, mix.values)
            x = cases.numbers(rng, (3, *size), mix.x)
            if min(g.out_size(size[1:])) < 1:
                continue
            want = oracle.bits(conv_cases.check(W, x, g, mix))
            for order, lay_out in ORDERS.items():
                y = conv_cases.check(W, lay_out(x), g, mix, order)
                assert (oracle.bits(y) == want).all(), f"{g}, {x.shape}, {order}"


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("mix", MIXES, ids=str)
def test_broadcast_and_read_only_images(mix):
    rng = np.random.default_rng(91)
    for g in GEOMETRIES:
        W = conv_cases.weights(rng, 6, 4, g, 0.5, mix.values)
        x = cases.numbers(rng, (3, 4, 5, 19), mix.x)
        for axis in range(4):
            one = np.broadcast_to(x.take([0], axis), x.shape)
            conv_cases.check(W, one, g, mix, f"axis {axis} repeats")
        conv_cases.check(W, np.broadcast_to(x[:1, :1, :1, :1], x.shape), g, mix, "one number")
        x.flags.writeable = False
        conv_cases.check(W, x, g, mix, "read-only")


def owner_of(out):
    while isinstance(out.base, np.ndarray):
        out = out.base
    return out


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("mix", MIXES, ids=str)
def test_out_and_residual_in_every_order(mix):
    """The result is `out` itself, and nothing beside it is touched."""
    rng = np.random.default_rng(92)
    dtype = oracle.result_dtype(mix.values, mix.x)
    for g in GEOMETRIES[:2]:
        W = conv_cases.weights(rng, 6, 4, g, 0.5, mix.values)
        for n, size in ((1, (3, 5)), (3, (4, 6)), (2, (5, 40))):
            x = cases.numbers(rng, (n, 4, *size), mix.x)
            shape = (n, 6, *g.out_size(size))
            residual = cases.numbers(rng, shape, F32).astype(dtype)
            for number, (order, lay_out) in enumerate(ORDERS.items()):
                other = list(ORDERS)[(3 * number + 1) % len(ORDERS)]
                out = lay_out(np.full(shape, cases.BESIDE, dtype))
                case = f"out {order}, residual {other}"
                y = conv_cases.check(W, x, g, mix, case, residual=ORDERS[other](residual), out=out)
                assert y is out, case
                if order != "misaligned":
                    written = np.count_nonzero(owner_of(out) != cases.BESIDE)
                    assert written <= out.size, case
                    out[...] = cases.BESIDE
                    assert (owner_of(out) == cases.BESIDE).all(), case


def test_the_result_has_the_order_of_the_images():
    A = sc.CSR.from_dense(np.eye(6, 36, dtype=F32))
    x = np.ones((2, 4, 6, 7), F32)
    plan = sc.ConvPlan(A, kernel_size=3)
    y = sc.conv2d(x, plan)
    assert y.flags.c_contiguous
    y = sc.conv2d(conv_cases.channels_last(x), plan)
    assert y.transpose(0, 2, 3, 1).flags.c_contiguous
    y = sc.conv2d(conv_cases.channels_last(x)[0], plan)
    assert y.transpose(1, 2, 0).flags.c_contiguous


def test_tensors_keep_their_order_and_may_be_mixed_with_arrays():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(93)
    g = GEOMETRIES[0]
    A = sc.CSR.from_dense(conv_cases.weights(rng, 6, 4, g, 0.5, F32))
    x = cases.numbers(rng, (2, 4, 5, 6), F32)
    want = sc.conv2d(x, A, **g.arguments())
    tensor = torch.from_numpy(x)
    for order in (torch.contiguous_format, torch.channels_last):
        laid_out = tensor.contiguous(memory_format=order)
        out = torch.empty(2, 6, 5, 6).contiguous(memory_format=order)
        for y in (
            sc.conv2d(laid_out, A, **g.arguments()),
            sc.conv2d(laid_out, A, np.zeros(6, F32), **g.arguments()),
            sc.conv2d(laid_out, A, **g.arguments(), out=out),
        ):
            assert isinstance(y, torch.Tensor)
            assert y.is_contiguous(memory_format=order)
            np.testing.assert_array_equal(y.numpy(), want)
        # Another number of columns is another shape: its sums may be taken in another order.
        alone = sc.conv2d(laid_out[0], A, **g.arguments())
        np.testing.assert_allclose(alone.numpy(), want[0], rtol=1e-5, atol=1e-5)
    halves = tensor.bfloat16()
    y = sc.conv2d(halves, sc.CSR.from_dense(torch.ones(1, 4).bfloat16()), kernel_size=1)
    assert y.dtype == torch.bfloat16


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("mix", [Mix(F32, F32), Mix(I8, I8), Mix(BF16, F32)], ids=str)
def test_threads_do_not_change_the_bits(mix):
    """Few tiles, whose channels are shared out, and many."""
    rng = np.random.default_rng(94)
    for m, channels, shape in ((300, 90, (1, 6, 7)), (20, 30, (4, 17, 19)), (64, 64, (3, 14, 14))):
        for groups in (1, 2):
            g = Geometry((3, 3), padding=(1, 1), groups=groups)
            W = conv_cases.weights(rng, m, channels, g, 0.3, mix.values)
            x = cases.numbers(rng, (shape[0], channels, *shape[1:]), mix.x)
            plan = sc.ConvPlan(sc.CSR.from_dense(W), **g.arguments())
            want = oracle.bits(conv_cases.check(W, x, g, mix, threads=1))
            for lay_out in (np.ascontiguousarray, conv_cases.channels_last):
                for threads in (1, 2, 3, 7):
                    y = sc.conv2d(lay_out(x), plan, threads=threads)
                    assert (oracle.bits(y) == want).all(), (m, groups, threads)


@pytest.mark.usefixtures("target", "tuned_as_amd")
@pytest.mark.parametrize("mix", [Mix(d, d) for d in (F64, F32, F16, BF16)], ids=str)
def test_what_no_entry_meets_is_skipped(mix):
    """One NaN or infinity in the images reaches the results that a stored weight meets it in."""
    rng = np.random.default_rng(95)
    for g in (*GEOMETRIES, Geometry((3, 3), (2, 1), (2, 1))):
        for m, size in ((9, (4, 6)), (9, (5, 21)), (150, (3, 4))):
            W = conv_cases.weights(rng, m // g.groups * g.groups, 4, g, 0.2, mix.values)
            W[0] = 0
            plan = sc.ConvPlan(sc.CSR.from_dense(W), **g.arguments())
            x = cases.numbers(rng, (2, 4, *size), mix.x)
            for lay_out in (np.ascontiguousarray, conv_cases.channels_last):
                clean = sc.conv2d(lay_out(x), plan)
                for number in range(8):
                    place = tuple(int(rng.integers(side)) for side in x.shape)
                    poison = (np.nan, np.inf, -np.inf)[number % 3]
                    bad = x.copy()
                    bad[place] = poison
                    # Each result meets one pixel of a channel at most once.
                    met = np.zeros(x.shape)
                    met[place] = 1
                    signs = conv_cases.by_groups(
                        np.sign(W.astype(F64)), conv_cases.patches(met, g), g
                    )
                    signs = conv_cases.as_images(signs, x, g)
                    with np.errstate(invalid="ignore"):
                        wanted = np.where(signs != 0, signs * poison, clean.astype(F64))
                    got = sc.conv2d(lay_out(bad), plan).astype(F64)
                    np.testing.assert_array_equal(got, wanted, f"{g}, {x.shape}, {place}")
