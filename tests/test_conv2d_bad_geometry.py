"""Geometry that conv2d refuses, naming what came, and extremes that it takes."""

import numpy as np
import pytest

import sparsecore as sc
from conv_calls import KINDS, NAMES, conv, eye, images
from oracle import F32, I8

HUGE = (2**30 + 1, 2**31, 2**62, 2**63 - 1, 2**63, 2**70)


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
        with pytest.raises(ValueError, match=r"^conv2d: kernel_size is"):
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
    for stride in (2**15, (2**15, 1), (7, 2**15)):
        first = conv(x, kind)[:, :, :1]
        y = conv(x, kind, stride=stride)
        assert (y == first[:, :, :, : y.shape[3]]).all()
    y = conv(x, kind, padding=2**13, stride=2**15)
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
    for options in ({"padding": 2**14}, {"padding": 1, "stride": 2**15}, {"stride": (2**15, 1)}):
        with pytest.raises((ValueError, MemoryError)):
            conv(tall, kind, A, kernel_size=1, **options)
