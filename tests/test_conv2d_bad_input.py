"""Every way to call conv2d wrongly: an error that says what came and what was expected."""

import re

import numpy as np
import pytest

import cases
import sparsecore as sc
from oracle import F32, F64, I8

KINDS = ("csr", "plan")
HUGE = (2**30 + 1, 2**31, 2**62, 2**63 - 1, 2**63, 2**70)
NAMES = ("kernel_size", "stride", "padding", "dilation")


def eye(dtype=F32):
    """Return weights of 6 channels from 2 x 3 x 3."""
    return sc.CSR.from_dense(np.eye(6, 18, dtype=dtype))


def conv(x, kind="csr", A=None, **options):
    """Convolve x, (n, 2, h, w), by a kernel of 3 x 3."""
    A = eye() if A is None else A
    names = (*NAMES, "groups")
    geometry = {"kernel_size": 3} | {n: options.pop(n) for n in names if n in options}
    if kind == "plan":
        return sc.conv2d(x, sc.ConvPlan(A, **geometry), **options)
    return sc.conv2d(x, A, **geometry, **options)


def images(*shape, dtype=F32):
    return np.ones(shape or (2, 2, 5, 6), dtype)


# ---- geometry ----


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_geometry_that_is_no_number(kind, name):
    for bad in (1.0, "same", "3", [1.0, 2.0], (1, None), np.ones(2, int), True, {1: 2}, (True, 1)):
        with pytest.raises(TypeError, match=rf"^conv2d: {name} is .*, expected an int or a pair"):
            conv(images(), kind, **{name: bad})
    for bad in ((), (1,), [1, 1, 1]):
        with pytest.raises(TypeError, match=rf"^conv2d: {name} has {len(bad)} numbers, expected"):
            conv(images(), kind, **{name: bad})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_geometry_out_of_range(kind, name):
    least = 0 if name == "padding" else 1
    for bad in (least - 1, -1, -(2**62), -(2**63), -(2**70), *HUGE):
        for value in (bad, (1, bad), (bad, 1)):
            with pytest.raises(ValueError, match=rf"^conv2d: {name} is .*{bad}.*, expected"):
                conv(images(), kind, **{name: value})
    with pytest.raises(ValueError, match=rf"^conv2d: {name} is .*, expected"):
        conv(images(), kind, **{name: (2**40, 2**40)})


@pytest.mark.parametrize("kind", KINDS)
def test_groups(kind):
    for bad in (1.0, "2", (1, 1), None, True):
        with pytest.raises(TypeError, match=r"^conv2d: groups is .*, expected an int$"):
            conv(images(), kind, groups=bad)
    for bad in (0, -1, 4, 5, 7, -(2**63), *HUGE):
        with pytest.raises(ValueError, match=rf"^conv2d: groups is {bad}, .*expected"):
            conv(images(), kind, groups=bad)
    nothing = sc.CSR.from_dense(np.zeros((0, 18), F32))
    for bad in (2, *HUGE):
        with pytest.raises(ValueError, match=rf"^conv2d: groups is {bad}, .*expected"):
            conv(images(), kind, nothing, groups=bad)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_do_not_fit_the_kernel(kind):
    for kernel in (4, (3, 4), (18, 18), (1, 19), 2**20):
        with pytest.raises(ValueError, match=r"^conv2d: kernel_size is .* 18 columns|2\^20 places"):
            conv(images(), kind, kernel_size=kernel)
    wide = sc.CSR((np.ones(0, F32), np.ones(0, int), np.zeros(9, int)), shape=(8, 2**62))
    with pytest.raises(ValueError, match=rf"^conv2d: A has {2**62} columns, .* at most 2\^32"):
        conv(images(), kind, wide, kernel_size=1, groups=8)
    # A kernel that no weight is there for, and larger than any image.
    for kernel in (2**30, (2**30, 1), (1, 2**21)):
        with pytest.raises(ValueError, match="^conv2d: kernel_size is"):
            conv(images(), kind, sc.CSR.from_dense(np.zeros((4, 0), F32)), kernel_size=kernel)


@pytest.mark.parametrize("kind", KINDS)
def test_images_smaller_than_the_kernel(kind):
    for shape, options in (
        ((1, 2, 2, 5), {}),
        ((1, 2, 5, 2), {}),
        ((1, 2, 0, 5), {}),
        ((1, 2, 5, 0), {}),
        ((0, 2, 1, 1), {}),
        ((1, 2, 4, 4), {"dilation": 2}),
        ((1, 2, 5, 5), {"dilation": 2**30}),
        ((1, 2, 2, 2), {"padding": 1, "dilation": (1, 3)}),
    ):
        message = rf"^conv2d: x is {shape[2]} x {shape[3]}, .*smaller than the kernel's span"
        with pytest.raises(ValueError, match=message):
            conv(images(*shape), kind, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_extreme_geometry_that_fits(kind):
    x = images(1, 2, 5, 6)
    for stride in (2**30, (2**30, 1), (7, 2**30)):
        first = conv(x, kind)[:, :, :1]
        y = conv(x, kind, stride=stride)
        assert (y == first[:, :, :, : y.shape[3]]).all()
    y = conv(x, kind, padding=2**13, stride=2**30)
    assert y.shape == (1, 6, 1, 1)
    assert not y.any()
    y = conv(x, kind, padding=2**13, stride=2**12, dilation=2**12)
    assert y.shape == (1, 6, 3, 3)
    # The middle of the kernel meets the first pixel; A's rows are the places of the first channel.
    assert [tuple(place) for place in np.argwhere(y)] == [
        (0, tap, 2 - tap // 3, 2 - tap % 3) for tap in range(6)
    ]
    assert conv(images(0, 2, 3, 3), kind, padding=2**13).shape == (0, 6, 16385, 16385)
    with pytest.raises((ValueError, MemoryError)):  # of 10^16 bytes
        conv(np.broadcast_to(images(1, 2, 3, 3), (2**20, 2, 3, 3)), kind, padding=2**13)


@pytest.mark.parametrize("kind", KINDS)
def test_images_that_repeat_one_pixel_without_end(kind):
    one = np.ones((1, 1, 1, 1), I8)
    A = eye(I8)
    for shape in ((1, 2, 2**61, 1), (1, 2, 1, 2**61), (2**61, 2, 1, 1), (1, 2**62, 1, 1)):
        x = np.broadcast_to(one, shape)
        with pytest.raises((ValueError, MemoryError)):
            conv(x, kind, A, padding=1)
    tall = np.broadcast_to(one[0], (1, 2**63 - 1, 1))
    A = sc.CSR.from_dense(np.ones((1, 1), I8))
    for options in ({"padding": 2**14}, {"padding": 1, "stride": 2**30}, {"stride": (2**30, 1)}):
        with pytest.raises((ValueError, MemoryError)):
            conv(tall, kind, A, kernel_size=1, **options)


# ---- arrays ----


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_rank_and_channels(kind):
    for x in (np.float32(1), np.ones(2, F32), images(5, 6), images(1, 2, 1, 5, 6)):
        with pytest.raises(TypeError, match=rf"^conv2d: x has {x.ndim} dimensions, expected 4"):
            conv(x, kind)
    for channels in (0, 1, 3, 4):
        with pytest.raises(ValueError, match=rf"^conv2d: x has {channels} channels, expected 2"):
            conv(images(1, channels, 5, 6), kind)
    with pytest.raises(ValueError, match="^conv2d: x has 2 channels, expected 4"):
        conv(images(), kind, groups=2)


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_dtypes(kind):
    for dtype in (bool, np.int16, np.int32, np.int64, np.uint8, np.complex64, object, ">f4", "U1"):
        x = np.ones((1, 2, 5, 6), dtype)
        with pytest.raises(TypeError, match=rf"^conv2d: x has dtype {re.escape(str(x.dtype))}"):
            conv(x, kind)
    with pytest.raises(TypeError, match="^conv2d: A is float32, .* is float64"):
        conv(images(dtype=F64), kind)
    with pytest.raises(TypeError, match="^conv2d: A is int8, .* is float32.*scale"):
        conv(images(), kind, eye(I8))
    with pytest.raises(TypeError, match="int32"):
        conv(images(dtype=I8), kind, eye(I8), scale=np.ones(6, F32))
    with pytest.raises(TypeError, match="^conv2d: an activation needs a floating result"):
        conv(images(dtype=I8), kind, eye(I8), activation="relu")
    for bad in (None, "x", {}, eye()):
        with pytest.raises(TypeError):
            conv(bad, kind)


def test_weights_that_are_none():
    A = eye()
    for bad in (
        None,
        np.eye(6, 18),
        A.T,
        A.tocoo(),
        A.prepare(),
        sc.Sparse24.from_dense(np.eye(4)),
        3,
    ):
        name = type(bad).__name__
        with pytest.raises(
            TypeError, match=f"^conv2d: A is a {name}, expected a CSR or a ConvPlan"
        ):
            sc.conv2d(images(), bad, kernel_size=3)
        with pytest.raises(TypeError, match=f"^conv2d: A is a {name}, expected a CSR"):
            sc.ConvPlan(bad, kernel_size=3)
    with pytest.raises(TypeError, match="^conv2d: kernel_size is missing"):
        sc.conv2d(images(), A)
    plan = sc.ConvPlan(A, kernel_size=3)
    for name in (*NAMES, "groups"):
        for value in (3, (3, 3), np.ones(2)):
            with pytest.raises(TypeError, match="^conv2d: A is a ConvPlan, which has a geometry"):
                sc.conv2d(images(), plan, **{name: value})
    with pytest.raises(TypeError, match="^conv2d: A is a Plan"):
        sc.conv2d(images(), A.prepare(), kernel_size=3)


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_vectors(kind):
    for name in ("scale", "bias"):
        for size in (0, 1, 5, 7):
            with pytest.raises(ValueError, match=rf"^conv2d: {name} has .*{size}.*6"):
                conv(images(), kind, **{name: np.ones(size, F32)})
        for bad in (np.ones((6, 1), F32), np.float32(1), np.ones((), F32)):
            with pytest.raises(TypeError, match=f"^conv2d: {name}"):
                conv(images(), kind, **{name: bad})
        for bad in (np.ones(6, int), np.ones(6, I8), [1.0] * 6, 2.0, "x"):
            with pytest.raises(TypeError, match=f"^conv2d: {name}"):
                conv(images(), kind, **{name: bad})


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_residual(kind):
    for shape in ((2, 6, 3, 3), (1, 6, 3, 4), (2, 6, 4, 3), (0, 6, 3, 4)):
        with pytest.raises(
            ValueError, match=r"^conv2d: residual has shape .*expected \(2, 6, 3, 4\)"
        ):
            conv(images(), kind, residual=images(*shape))
    for bad in (images(6, 3, 4), np.float32(1), [1.0], "x"):
        with pytest.raises(TypeError, match="^conv2d: residual"):
            conv(images(), kind, residual=bad)
    for bad in (images(2, 6, 3, 4), [1.0], 3.0):
        with pytest.raises(TypeError, match="^conv2d: residual"):
            conv(images(2, 5, 6), kind, residual=bad)
    with pytest.raises(TypeError, match="^conv2d: residual is float64, the result is float32"):
        conv(images(), kind, residual=images(2, 6, 3, 4, dtype=F64))


@pytest.mark.parametrize("kind", KINDS)
def test_options(kind):
    for bad in ("tanh", "RELU", ""):
        with pytest.raises(ValueError, match=f"^conv2d: activation is '{bad}'"):
            conv(images(), kind, activation=bad)
    for bad in (3, np.tanh):
        with pytest.raises(TypeError, match="activation|str"):
            conv(images(), kind, activation=bad)
    for bad in (0, -1, 2**40):
        with pytest.raises(ValueError, match="^conv2d: threads is"):
            conv(images(), kind, threads=bad)
    for bad in (1.5, "2", [1]):
        with pytest.raises(TypeError, match="^conv2d: threads is"):
            conv(images(), kind, threads=bad)


# ---- out ----


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_out(kind):
    for shape in ((2, 6, 3, 3), (1, 6, 3, 4), (2, 6, 4, 3), (0, 6, 3, 4), (3, 6, 3, 4)):
        with pytest.raises(ValueError, match=r"^conv2d: out has shape .*, expected \(2, 6, 3, 4\)"):
            conv(images(), kind, out=images(*shape))
    for dtype in (F64, np.float16, np.int32):
        with pytest.raises(ValueError, match=r"^conv2d: out is .*, the result is float32"):
            conv(images(), kind, out=images(2, 6, 3, 4, dtype=dtype))
    for bad in (images(6, 3, 4), [1.0], 3.0, images(2, 6, 3, 4, dtype=np.int64)):
        with pytest.raises(TypeError, match="^conv2d: out"):
            conv(images(), kind, out=bad)
    for bad in (images(2, 6, 3, 4), [1.0]):
        with pytest.raises(TypeError, match="^conv2d: out"):
            conv(images(2, 5, 6), kind, out=bad)
    out = images(2, 6, 3, 4)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="^conv2d: out is read-only"):
        conv(images(), kind, out=out)


@pytest.mark.parametrize("kind", KINDS)
def test_out_that_overlaps_an_argument(kind):
    A = sc.CSR.from_dense(np.eye(2, dtype=F32))
    buffer = images(3, 2, 5, 6)
    unaligned = cases.misaligned(images())
    for x, out in (
        (buffer[:2], buffer[:2]),
        (buffer[:2], buffer[1:]),
        (buffer[:2], buffer[1::-1]),
        (np.broadcast_to(buffer[:1], (2, 2, 5, 6)), buffer[:2]),
        (unaligned, unaligned),
    ):
        before = out.copy()
        with pytest.raises(ValueError, match="^conv2d: out overlaps x"):
            conv(x, kind, A, kernel_size=1, out=out)
        assert (out == before).all()
    with pytest.raises(ValueError, match="^conv2d: out overlaps residual"):
        conv(images(), kind, A, kernel_size=1, residual=buffer[:2], out=buffer[1:])
    for name in ("scale", "bias"):
        out = images()
        with pytest.raises(ValueError, match=f"^conv2d: out overlaps {name}"):
            conv(images(), kind, A, kernel_size=1, **{name: out[0, 0, 0, :2]}, out=out)


@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_in_one_buffer_do_not_overlap(kind):
    """Halves of the channels, as where results are concatenated; images and columns in turns."""
    A = sc.CSR.from_dense(2 * np.eye(2, dtype=F32))
    for mine, others in (
        (np.s_[:, :2], np.s_[:, 2:]),
        (np.s_[::2, :2], np.s_[1::2, :2]),
        (np.s_[:, :2, :, ::2], np.s_[:, :2, :, 1::2]),
    ):
        for order in ((0, 1, 2, 3), (0, 2, 3, 1)):
            buffer = np.ones([(4, 4, 5, 6)[axis] for axis in order], F32)
            buffer = buffer.transpose(np.argsort(order))
            y = conv(buffer[mine], kind, A, kernel_size=1, out=buffer[others])
            assert (y == 2).all()
            assert (buffer[mine] == 1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_out_that_overlaps_itself(kind):
    strided = np.lib.stride_tricks.as_strided
    for strides in (
        (0, 48, 16, 4),
        (288, 0, 16, 4),
        (288, 48, 16, 0),
        (288, 48, 0, 4),
        (4, 4, 4, 4),
    ):
        out = strided(np.zeros(2 * 6 * 3 * 4, F32), (2, 6, 3, 4), strides)
        with pytest.raises(ValueError, match="^conv2d: out has elements that share memory"):
            conv(images(), kind, out=out)


def test_tensors_that_are_not_here():
    torch = pytest.importorskip("torch")
    x = torch.ones(2, 2, 5, 6)
    for bad in (x.to("meta"), x.to_sparse()):
        with pytest.raises((TypeError, RuntimeError, ValueError), match="conv2d: x"):
            conv(bad)
    with pytest.raises((TypeError, RuntimeError, ValueError), match="conv2d: bias"):
        conv(x, bias=torch.ones(6, device="meta"))
