"""What a pattern of kept positions has to answer, and the answers that most patterns share."""

from __future__ import annotations

import math
from typing import Any, Protocol


class Pattern(Protocol):
    """Which positions may be pruned together; a value, as ``NM(2, 4)``.

    A pattern of your own inherits the answers of one that treats each position by itself, and
    overrides `select` and what else is different.
    """

    __slots__ = ()

    @property
    def sparsity(self) -> float | None:
        """The one sparsity that the pattern has, or None where it can have several."""
        return None

    def fixed_count(self, shape: tuple[int, ...]) -> int | None:  # noqa: ARG002 - none is fixed
        """Return the one kept count that the pattern has in `shape`, or None for several."""
        return None

    def nearest_counts(
        self,
        shape: tuple[int, ...],
        kept: int,
        within: Any = None,  # noqa: ARG002 - where any count is possible it is within, too
    ) -> tuple[int, int]:
        """Return the counts possible in `shape` next to `kept`, not above and not below it.

        Both are `kept` where that is possible. `kept` is 0 to the number of entries. Patterns of
        groups take them of those groups only that the mask `within` has.
        """
        fixed = self.fixed_count(shape)
        return (kept, kept) if fixed is None else (fixed, fixed)

    def round_count(self, shape: tuple[int, ...], kept: int, within: Any = None) -> int:
        """Return the possible count that is nearest to `kept`; of two, the larger."""
        kept = min(max(kept, 0), math.prod(shape))
        below, above = self.nearest_counts(shape, kept, within)
        return above if above - kept <= kept - below else below

    def obstacle(self, shape: tuple[int, ...]) -> str | None:  # noqa: ARG002 - any shape will do
        """Say why a weight of `shape` has no room for the pattern; None where it has."""
        return None

    def spread(self, scores: Any) -> Any:
        """Return scores that can be compared between layers, entry by entry.

        Where entries are kept in groups each has the mean of its group, so that a threshold over
        all layers weighs what a group is worth against what it costs.
        """
        return scores

    def select(self, scores: Any, kept: int) -> Any:
        """Return the mask of the `kept` best scores; the arguments are already checked."""


def axis_of(pattern: Pattern, axis: int, shape: tuple[int, ...]) -> int:
    """Return an axis counted from the front.

    Raises
    ------
    ValueError
        The shape has no such axis.
    """
    if not -len(shape) <= axis < len(shape):
        msg = f"{pattern}: scores of shape {shape} have no axis {axis} to take groups along"
        raise ValueError(msg)
    return axis % len(shape)
