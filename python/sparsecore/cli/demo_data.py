"""The demo's data: scikit-learn's digits, which need no download, or MNIST from its files."""

import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Dataset", "digits", "mnist", "read_idx"]

Array: TypeAlias = npt.NDArray[Any]

_DIGITS_TEST_IMAGES = 359  # a fifth of 1,797
_MNIST_SIDE = 28
_MNIST_MOST_IMAGES = 70_000
_UNSIGNED_BYTES = 0x08


@dataclass(frozen=True, slots=True)
class Dataset:
    """Images as rows of float32 in [0, 1], and their labels, 0 to 9, as int64."""

    name: str
    train_x: Array
    train_y: Array
    test_x: Array
    test_y: Array


def digits() -> Dataset:
    """Return scikit-learn's 1,797 handwritten digits, 8 x 8 pixels, always split the same way.

    Examples
    --------
    >>> data = digits()
    >>> data.train_x.shape, data.test_x.shape, data.train_x.dtype, float(data.train_x.max())
    ((1438, 64), (359, 64), dtype('float32'), 1.0)
    """
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    # Neighbours in the file are by the same writer: mixed, or the test would be of other writers.
    order = np.random.default_rng(0).permutation(len(labels))
    x = (pixels[order] / 16).astype(np.float32)
    y = labels[order].astype(np.int64)
    n = _DIGITS_TEST_IMAGES
    return Dataset("digits", x[n:], y[n:], x[:n], y[:n])


def mnist(folder: Path) -> Dataset:
    """Read MNIST from its four gzipped IDX files.

    Parameters
    ----------
    folder : Path
        Holds ``{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz``.

    Raises
    ------
    ValueError
        If a file is missing, damaged, or not MNIST; the message names it.
    """
    train_x, train_y = _mnist_part(folder, "train")
    test_x, test_y = _mnist_part(folder, "t10k")
    return Dataset("MNIST", train_x, train_y, test_x, test_y)


def _mnist_part(folder: Path, part: str) -> tuple[Array, Array]:
    images_path = folder / f"{part}-images-idx3-ubyte.gz"
    labels_path = folder / f"{part}-labels-idx1-ubyte.gz"
    most = (_MNIST_MOST_IMAGES, _MNIST_SIDE, _MNIST_SIDE)
    images = read_idx(images_path, most=most)
    labels = read_idx(labels_path, most=most[:1])
    if len(images) == 0 or images.shape[1:] != most[1:]:
        shape = " x ".join(map(str, images.shape))
        msg = f"{images_path} holds {shape} pixels, expected images of 28 x 28"
        raise ValueError(msg)
    if len(images) != len(labels):
        msg = f"{images_path} holds {len(images)} images, {labels_path.name} {len(labels)} labels"
        raise ValueError(msg)
    if labels.max() > 9:
        msg = f"{labels_path} holds the label {labels.max()}, expected 0 to 9"
        raise ValueError(msg)
    x = images.reshape(len(images), -1).astype(np.float32) / np.float32(255)
    return x, labels.astype(np.int64)


def read_idx(path: Path, *, most: tuple[int, ...]) -> Array:
    """Read an array of unsigned bytes from a gzipped IDX file.

    The format: two zero bytes, the type (8 for unsigned bytes), the number of dimensions, each
    dimension as a big-endian 32-bit number, then the bytes, the last dimension fastest
    (Y. LeCun, C. Cortes and C. Burges, The MNIST database of handwritten digits).

    Parameters
    ----------
    path : Path
    most : tuple of int
        The number of dimensions, and the most that each may be. What the header claims is held
        against it before anything is allocated.

    Raises
    ------
    ValueError
        If the file cannot be read, or is not such an array; the message names it.
    """
    rank = len(most)
    try:
        with gzip.open(path) as file:
            header = file.read(4 + 4 * rank)
            if header[:4] != bytes((0, 0, _UNSIGNED_BYTES, rank)) or len(header) < 4 + 4 * rank:
                msg = f"{path} is not an IDX file of unsigned bytes in {rank} dimensions"
                raise ValueError(msg)
            shape = tuple(int(n) for n in np.frombuffer(header, ">u4", offset=4))
            if any(n > limit for n, limit in zip(shape, most, strict=True)):
                msg = f"{path} claims the shape {shape}, expected {most} at most"
                raise ValueError(msg)
            size = math.prod(shape)
            content = file.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        msg = f"{path} cannot be read: {reason}"
        raise ValueError(msg) from error
    if len(content) != size:
        held = "more" if len(content) > size else f"{len(content):,}"
        msg = f"{path} claims {size:,} bytes for the shape {shape} and holds {held}"
        raise ValueError(msg)
    return np.frombuffer(content, np.uint8).reshape(shape)
