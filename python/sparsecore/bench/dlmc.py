"""Patterns of the DLMC collection: layers of ResNet-50 and of a transformer, pruned in many ways.

They lie in ``dlmc_dev.tar.xz`` in the folder that SPARSECORE_DATA names; the path of each says
``MODEL/METHOD/SPARSITY/LAYER.smtx`` (Gale et al., "Sparse GPU Kernels for Deep Learning", 2020).
"""

import os
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sparsecore as sc

__all__ = ["Pattern", "archive", "patterns", "sample"]


@dataclass(frozen=True, slots=True)
class Pattern:
    """Where a matrix has entries; `sparsity`, in percent, is what the collection calls it."""

    name: str
    sparsity: float
    shape: tuple[int, int]
    indptr: Any
    indices: Any


def archive() -> Path:
    """Return the path of the collection.

    Raises
    ------
    FileNotFoundError
        Where it is not there.
    """
    path = Path(os.environ.get("SPARSECORE_DATA", ".")) / "dlmc_dev.tar.xz"
    if not path.is_file():
        msg = f"--dlmc: {path} is absent; SPARSECORE_DATA names the folder that holds it"
        raise FileNotFoundError(msg)
    return path


def patterns(count: int) -> Iterator[Pattern]:
    """Yield the patterns by sparsity and size: all of them, or `count` of each sparsity."""
    with tarfile.open(archive()) as packed, tempfile.TemporaryDirectory() as folder:
        packed.extractall(folder, filter="data")
        found = [_read(path, Path(folder)) for path in Path(folder).rglob("*.smtx")]
    yield from sample(found, count)


def sample(found: list[Pattern], count: int) -> list[Pattern]:
    """Return `count` patterns of each sparsity, from small to large ones; with 0, all."""
    taken = []
    for sparsity in sorted({pattern.sparsity for pattern in found}):
        having = [pattern for pattern in found if pattern.sparsity == sparsity]
        having.sort(key=lambda pattern: (pattern.shape[0] * pattern.shape[1], pattern.name))
        if 0 < count < len(having):
            # Evenly, both ends included where there is more than one.
            steps = [i * (len(having) - 1) // max(count - 1, 1) for i in range(count)]
            having = [having[step] for step in steps]
        taken += having
    return taken


def _read(path: Path, folder: Path) -> Pattern:
    A = sc.load(path)  # sorted and checked
    assert isinstance(A, sc.CSR)
    *_, model, method, sparsity, layer = path.relative_to(folder).with_suffix("").parts
    percent = round(100 * float(sparsity), 6)
    return Pattern(f"{model}/{method}/{layer}", percent, A.shape, A.indptr, A.indices)
