"""What dynamic sparse training asks of a weight, whichever way it is stored.

`csr_weight` has the form whose nonzeros alone exist, `masked_weight` the dense one with a mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from torch import Tensor
from torch.optim import Optimizer

__all__ = ["SparseWeight"]


class SparseWeight(Protocol):
    """A weight of which some entries are trained.

    An entry's *place* is its number among the entries, in the order of their *positions*, which
    count all numbers of the weight in row-major order.
    """

    @property
    def parameter(self) -> Tensor:
        """What the optimizer holds: the stored values, or the dense weight."""

    @property
    def trains(self) -> bool:
        """Whether it requires a gradient now."""

    @property
    def size(self) -> int:
        """The number of positions."""

    @property
    def entries(self) -> int:
        """The number of entries."""

    def mask(self) -> Tensor:
        """Return where the entries are, bool, of the weight's shape."""

    def outside(self) -> Tensor | None:
        """Return which numbers of `parameter` are no entries, in its shape; None if all are."""

    def values(self) -> Tensor:
        """Return the entries' values, (entries,), in the order of their places."""

    def positions(self) -> Tensor:
        """Return the entries' positions, (entries,) int64 ascending, on the CPU."""

    def watch(self, *, due: bool) -> None:
        """Prepare for a step that asks for the gradient of all positions, or stop."""

    def gradient(self) -> Tensor | None:
        """Return the gradient of `parameter`; ValueError where it is not dense."""

    def gradient_blocks(self, *, memory: int) -> Iterator[tuple[int, Tensor]]:
        """Yield that gradient as a matrix, a few rows at a time: the first row's number, rows."""

    def regrow(self, drop: Tensor, grow: Tensor, optimizer: Optimizer) -> None:
        """Move entries: places that leave, positions that come as zeros without optimizer state."""

    def confine_gradient(self) -> None:
        """Leave no gradient but that of the entries."""

    def enforce(self, optimizer: Optimizer) -> None:
        """Leave nothing but zeros outside of the entries, in the weight and optimizer state."""
