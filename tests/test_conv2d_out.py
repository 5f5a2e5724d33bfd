"""Every `out` that conv2d refuses, and neighbours in one buffer, which it takes."""

import numpy as np
import pytest

import cases
import sparsecore as sc
from conv_calls import KINDS, conv, images
from oracle import F32, F64


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_out(kind):
    for shape in ((2, 6, 3, 3), (1, 6, 3, 4), (2, 6, 4, 3), (0, 6, 3, 4), (3, 6, 3, 4)):
        with pytest.raises(ValueError, match=r"^conv2d: out has shape .*, expected \(2, 6, 3, 4\)"):
            conv(images(), kind, out=images(*shape))
    for dtype in (F64, np.float16, np.int32):
        with pytest.raises(ValueError, match=r"^conv2d: out is .*, the result is float32"):
            conv(images(), kind, out=images(2, 6, 3, 4, dtype=dtype))
    for bad in (images(6, 3, 4), [1.0], 3.0, images(2, 6, 3, 4, dtype=np.int64)):
        with pytest.raises(TypeError, match=r"^conv2d: out"):
            conv(images(), kind, out=bad)
    for bad in (images(2, 6, 3, 4), [1.0]):
        with pytest.raises(TypeError, match=r"^conv2d: out"):
            conv(images(2, 5, 6), kind, out=bad)
    out = images(2, 6, 3, 4)
    out.flags.writeable = False
    with pytest.raises(ValueError, match=r"^conv2d: out is read-only"):
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
        with pytest.raises(ValueError, match=r"^conv2d: out overlaps x"):
            conv(x, kind, A, kernel_size=1, out=out)
        assert (out == before).all()
    with pytest.raises(ValueError, match=r"^conv2d: out overlaps residual"):
        conv(images(), kind, A, kernel_size=1, residual=buffer[:2], out=buffer[1:])
    for name in ("scale", "bias"):
        out = images()
        with pytest.raises(ValueError, match=rf"^conv2d: out overlaps {name}"):
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
        with pytest.raises(ValueError, match=r"^conv2d: out has elements that share memory"):
            conv(images(), kind, out=out)


def test_tensors_that_overlap():
    torch = pytest.importorskip("torch")
    A = sc.CSR.from_dense(torch.eye(2) * 2)
    x = torch.ones(2, 4, 5, 6)
    for out in (x[:, :2], x[:, 1:3]):
        with pytest.raises(ValueError, match=r"^conv2d: out overlaps x"):
            sc.conv2d(x[:, :2], A, kernel_size=1, out=out)
    assert sc.conv2d(x[:, :2], A, kernel_size=1, out=x[:, 2:]).data_ptr() == x[:, 2:].data_ptr()
    assert (x[:, :2] == 1).all()
    assert (x[:, 2:] == 2).all()
