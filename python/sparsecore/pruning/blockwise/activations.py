"""The hidden states between two blocks, for each calibration batch: in memory or in files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["Activations", "activations"]


class Activations(Protocol):
    """Tensors by number, each exchanged as a whole."""

    def append(self, x: Tensor) -> None:
        """Add one at the end."""

    def __len__(self) -> int:
        """Return how many there are."""

    def __getitem__(self, index: int) -> Tensor:
        """Return one, for reading."""

    def __setitem__(self, index: int, x: Tensor) -> None:
        """Exchange one for another, of any shape."""


class _Spilled:
    """Tensors in memory-mapped files of a folder; those on a GPU come back to it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kinds: list[tuple[torch.Size, torch.dtype, torch.device]] = []

    def append(self, x: Tensor) -> None:
        self._kinds.append((x.shape, x.dtype, x.device))
        self[len(self) - 1] = x

    def __len__(self) -> int:
        return len(self._kinds)

    def __getitem__(self, index: int) -> Tensor:
        shape, dtype, device = self._kinds[index]
        if not shape.numel():
            return torch.empty(shape, dtype=dtype, device=device)
        return _mapped(self._path(index), shape, dtype, shared=False).to(device)

    def __setitem__(self, index: int, x: Tensor) -> None:
        self._kinds[index] = x.shape, x.dtype, x.device
        self._path(index).unlink(missing_ok=True)
        if x.numel():
            _mapped(self._path(index), x.shape, x.dtype, shared=True).copy_(x)

    def _path(self, index: int) -> Path:
        return self._folder / f"batch-{index:06}.bin"


def _mapped(path: Path, shape: torch.Size, dtype: torch.dtype, *, shared: bool) -> Tensor:
    flat = torch.from_file(str(path), shared=shared, size=shape.numel(), dtype=dtype)
    return flat.view(shape)


@contextmanager
def activations(spill: Path | None) -> Iterator[Activations]:
    """Yield a place for hidden states; files in `spill` are gone afterwards, the folder stays.

    Raises
    ------
    OSError
        The folder cannot be made or written to.
    """
    if spill is None:
        yield []
        return
    spill.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="activations-", dir=spill) as folder:
        yield _Spilled(Path(folder))
