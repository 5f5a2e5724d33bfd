"""cli/demo_data.py: the digits, and MNIST's files, whole and damaged."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demo_cases import idx, noise, write_mnist
from sparsecore.cli import demo_data


def test_digits_are_split_without_overlap_and_always_the_same_way() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    data = demo_data.digits()
    pixels, labels = datasets.load_digits(return_X_y=True)

    def rows(x: Any, y: Any) -> list[tuple[Any, ...]]:
        return sorted(map(tuple, np.column_stack([x, y]).tolist()))

    everything = np.concatenate([data.train_x, data.test_x])
    assert rows(everything, np.concatenate([data.train_y, data.test_y])) == rows(
        pixels / 16, labels
    )
    again = demo_data.digits()
    assert np.array_equal(again.test_x, data.test_x)
    assert np.array_equal(again.train_y, data.train_y)


@pytest.fixture
def mnist_folder(tmp_path: Path) -> Path:
    write_mnist(tmp_path)
    return tmp_path


def test_mnist_is_read_as_it_was_written(mnist_folder: Path) -> None:
    images, labels = noise(np.random.default_rng(0), 70)
    data = demo_data.mnist(mnist_folder)
    assert np.array_equal(np.rint(255 * data.train_x), images.reshape(70, 784))
    assert np.array_equal(data.train_y, labels)
    assert (data.train_x.dtype, data.train_y.dtype) == (np.float32, np.int64)
    assert data.test_x.shape == (66, 784)


def test_mnist_itself(data_dir: Path) -> None:
    data = demo_data.mnist(data_dir / "mnist")
    assert (data.train_x.shape, data.test_x.shape) == ((60_000, 784), (10_000, 784))
    # The first labels, as the database's description prints them.
    assert data.train_y[:5].tolist() == [5, 0, 4, 1, 9]


# ---- damaged ----


IMAGES = np.zeros((70, 28, 28), np.uint8)
DAMAGE: dict[str, tuple[bytes, str]] = {
    "not gzip": (b"hello", "cannot be read: Not a gzipped file"),
    "cut gzip": (gzip.compress(idx(IMAGES))[:-20], "cannot be read"),
    "rotten gzip": (gzip.compress(idx(IMAGES))[:12] + b"\xff" * 40, "cannot be read"),
    "empty": (gzip.compress(b""), "is not an IDX file"),
    "floats": (gzip.compress(b"\0\0\x0d\x03" + idx(IMAGES)[4:]), "is not an IDX file"),
    "labels": (gzip.compress(idx(IMAGES[:, 0, 0])), "is not an IDX file"),
    "short": (gzip.compress(idx(IMAGES)[:-1]), "54,880 bytes for the shape (70, 28, 28) and holds"),
    "long": (gzip.compress(idx(IMAGES) + b"\0"), "and holds more"),
    "boast": (gzip.compress(idx(IMAGES, shape=(2**32 - 1, 28, 28))), "(70000, 28, 28) at most"),
    "thin": (gzip.compress(idx(IMAGES[:, :, :27])), "expected images of 28 x 28"),
    "none": (gzip.compress(idx(IMAGES[:0])), "expected images of 28 x 28"),
    "fewer": (gzip.compress(idx(IMAGES[:69])), "holds 69 images, "),
}


@pytest.mark.parametrize(("content", "message"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damaged_mnist_is_refused_by_name(mnist_folder: Path, content: bytes, message: str) -> None:
    path = mnist_folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="train-images-idx3-ubyte") as error:
        demo_data.mnist(mnist_folder)
    assert str(path) in str(error.value)
    assert message in str(error.value)


def test_wrong_label_is_refused(mnist_folder: Path) -> None:
    path = mnist_folder / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(idx(np.full(66, 10, np.uint8))))
    with pytest.raises(ValueError, match="holds the label 10, expected 0 to 9"):
        demo_data.mnist(mnist_folder)
