"""The command line in this process, files in MNIST's form, and made-up results of a demo."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from click.testing import CliRunner, Result

from oracle import Array
from sparsecore.cli.commands import commands
from sparsecore.timing import Timing

if TYPE_CHECKING:
    from sparsecore import nn
    from sparsecore.cli.demo_results import Variant
    from sparsecore.nn.report import Format


def sparsecore(*arguments: object) -> Result:
    return CliRunner().invoke(commands, [str(argument) for argument in arguments])


# ---- MNIST ----


def idx(array: Array, *, shape: tuple[int, ...] | None = None) -> bytes:
    """Write bytes as IDX; `shape` is what the header claims, if not the truth."""
    claimed = array.shape if shape is None else shape
    dimensions = b"".join(int(n).to_bytes(4, "big") for n in claimed)
    return bytes((0, 0, 8, len(claimed))) + dimensions + array.tobytes()


def noise(rng: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Return images of 28 x 28 bytes, and their labels."""
    images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    return images, rng.integers(0, 10, count, dtype=np.uint8)


def write_mnist(folder: Path) -> None:
    """Write four files in MNIST's form: 70 and 66 images of noise, of a generator of seed 0."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 70), ("t10k", 66)):
        images, labels = noise(rng, count)
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))


# ---- results ----


def timing(seconds: float, *, spread: float = 1.0) -> Timing:
    return Timing(seconds, seconds, spread * seconds, 1)


def report(choice: Format, *, seconds: float | None = None) -> nn.Report:
    """Return a report on one layer, fc1."""
    from sparsecore import nn

    layer = nn.LayerReport(
        name="fc1",
        shape=(4, 8),
        sparsity=0.9,
        is_24=False,
        rows=(64,),
        seconds={},
        nbytes={},
        error=None,
        choice=choice,
        why="because",
    )
    return nn.Report((layer,), seconds, seconds, 0, 0, 0.0)


def variant(title: str, time: Timing, reports: Mapping[int, nn.Report]) -> Variant:
    """Return a variant that was measured at batch 64."""
    from sparsecore.cli.demo_results import Stored, Variant

    return Variant(title, title, {"fc1": 0.1}, Stored(1.0, 1, 1, 1), {64: time}, reports)
