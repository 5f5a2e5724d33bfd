"""Arrays and options that conv2d refuses: an error that says what came and what was expected."""

import re

import numpy as np
import pytest

import sparsecore as sc
from conv_calls import KINDS, NAMES, conv, eye, images
from oracle import F32, F64, I8


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_rank_and_channels(kind):
    for x in (np.float32(1), np.ones(2, F32), images(5, 6), images(1, 2, 1, 5, 6)):
        with pytest.raises(TypeError, match=rf"^conv2d: x has {x.ndim} dimensions, expected 4"):
            conv(x, kind)
    for channels in (0, 1, 3, 4):
        with pytest.raises(ValueError, match=rf"^conv2d: x has {channels} channels, expected 2"):
            conv(images(1, channels, 5, 6), kind)
    with pytest.raises(ValueError, match=r"^conv2d: x has 2 channels, expected 4"):
        conv(images(), kind, groups=2)


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_dtypes(kind):
    for dtype in (bool, np.int16, np.int32, np.int64, np.uint8, np.complex64, object, ">f4", "U1"):
        x = np.ones((1, 2, 5, 6), dtype)
        with pytest.raises(TypeError, match=rf"^conv2d: x has dtype {re.escape(str(x.dtype))}"):
            conv(x, kind)
    with pytest.raises(TypeError, match=r"^conv2d: A is float32, .* is float64"):
        conv(images(dtype=F64), kind)
    with pytest.raises(TypeError, match=r"^conv2d: A is int8, .* is float32.*scale"):
        conv(images(), kind, eye(I8))
    with pytest.raises(TypeError, match=r"int32"):
        conv(images(dtype=I8), kind, eye(I8), scale=np.ones(6, F32))
    with pytest.raises(TypeError, match=r"^conv2d: an activation needs a floating result"):
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
            TypeError, match=rf"^conv2d: A is a {name}, expected a CSR or a ConvPlan"
        ):
            sc.conv2d(images(), bad, kernel_size=3)
        with pytest.raises(TypeError, match=rf"^conv2d: A is a {name}, expected a CSR"):
            sc.ConvPlan(bad, kernel_size=3)
    with pytest.raises(TypeError, match=r"^conv2d: kernel_size is missing"):
        sc.conv2d(images(), A)
    plan = sc.ConvPlan(A, kernel_size=3)
    for name in (*NAMES, "groups"):
        for value in (3, (3, 3), np.ones(2)):
            with pytest.raises(TypeError, match=r"^conv2d: A is a ConvPlan, which has a geometry"):
                sc.conv2d(images(), plan, **{name: value})
    with pytest.raises(TypeError, match=r"^conv2d: A is a Plan"):
        sc.conv2d(images(), A.prepare(), kernel_size=3)


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_vectors(kind):
    for name in ("scale", "bias"):
        for size in (0, 1, 5, 7):
            with pytest.raises(ValueError, match=rf"^conv2d: {name} has .*{size}.*6"):
                conv(images(), kind, **{name: np.ones(size, F32)})
        for bad in (np.ones((6, 1), F32), np.float32(1), np.ones((), F32)):
            with pytest.raises(TypeError, match=rf"^conv2d: {name}"):
                conv(images(), kind, **{name: bad})
        for bad in (np.ones(6, int), np.ones(6, I8), [1.0] * 6, 2.0, "x"):
            with pytest.raises(TypeError, match=rf"^conv2d: {name}"):
                conv(images(), kind, **{name: bad})


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_residual(kind):
    for shape in ((2, 6, 3, 3), (1, 6, 3, 4), (2, 6, 4, 3), (0, 6, 3, 4)):
        with pytest.raises(
            ValueError, match=r"^conv2d: residual has shape .*expected \(2, 6, 3, 4\)"
        ):
            conv(images(), kind, residual=images(*shape))
    for bad in (images(6, 3, 4), np.float32(1), [1.0], "x"):
        with pytest.raises(TypeError, match=r"^conv2d: residual"):
            conv(images(), kind, residual=bad)
    for bad in (images(2, 6, 3, 4), [1.0], 3.0):
        with pytest.raises(TypeError, match=r"^conv2d: residual"):
            conv(images(2, 5, 6), kind, residual=bad)
    with pytest.raises(TypeError, match=r"^conv2d: residual is float64, the result is float32"):
        conv(images(), kind, residual=images(2, 6, 3, 4, dtype=F64))


@pytest.mark.parametrize("kind", KINDS)
def test_options(kind):
    for bad in ("tanh", "RELU", ""):
        with pytest.raises(ValueError, match=rf"^conv2d: activation is '{bad}'"):
            conv(images(), kind, activation=bad)
    for bad in (3, np.tanh):
        with pytest.raises(TypeError, match=r"activation|str"):
            conv(images(), kind, activation=bad)
    for bad in (0, -1, 2**40):
        with pytest.raises(ValueError, match=r"^conv2d: threads is"):
            conv(images(), kind, threads=bad)
    for bad in (1.5, "2", [1]):
        with pytest.raises(TypeError, match=r"^conv2d: threads is"):
            conv(images(), kind, threads=bad)


def test_tensors_that_are_not_here():
    torch = pytest.importorskip("torch")
    x = torch.ones(2, 2, 5, 6)
    for bad in (x.to("meta"), x.to_sparse()):
        with pytest.raises((TypeError, RuntimeError, ValueError), match=r"conv2d: x"):
            conv(bad)
    with pytest.raises((TypeError, RuntimeError, ValueError), match=r"conv2d: bias"):
        conv(x, bias=torch.ones(6, device="meta"))
