"""Schedules: when the masks are updated, and to which sparsity.

A step is a finished optimizer step. The sparsity at step t is the one in force after t steps, so
step 0 is the state before training. A schedule is a pure function of the step: nothing to save.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Protocol


class Schedule(Protocol):
    """What a schedule has to answer."""

    @property
    def gradual(self) -> bool:
        """Whether the sparsity passes through values other than the final one."""

    def sparsity_at(self, step: int, final: float) -> float:
        """Return the sparsity in force after `step` steps, on the way to `final`."""

    def updates_at(self, step: int) -> bool:
        """Return whether the masks are computed anew after `step` steps."""


@dataclass(frozen=True, slots=True)
class OneShot:
    """The final sparsity at once, before the first step.

    Examples
    --------
    >>> OneShot().sparsity_at(0, final=0.9), OneShot().updates_at(1)
    (0.9, False)
    """

    @property
    def gradual(self) -> bool:
        """False: there is one sparsity."""
        return False

    def sparsity_at(self, step: int, final: float) -> float:  # noqa: ARG002 - it never changes
        """Return `final`."""
        return final

    def updates_at(self, step: int) -> bool:
        """Return True at step 0 only."""
        return step == 0


@dataclass(frozen=True, slots=True)
class Cubic:
    """Fast at first, when there is much to spare, and slow towards the end.

    s_t = s_f - s_f * (1 - (t - begin) / (end - begin))**3 at t = begin, begin + every, ... and at
    `end`; in between the last value stays. The sparsity is 0 up to `begin` and s_f from `end` on.

    Parameters
    ----------
    begin, end : int
        First and last step of the ramp, 0 <= begin < end.
    every : int
        Steps between mask updates, at least 1. Where it does not divide ``end - begin``, the last
        interval is shorter.

    Raises
    ------
    ValueError
        Unless 0 <= begin < end and every >= 1.
    TypeError
        One of them is not an integer.

    References
    ----------
    Zhu and Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model
    compression", arXiv:1710.01878, equation 1 (with initial sparsity 0).

    Examples
    --------
    >>> ramp = Cubic(begin=0, end=10, every=1)
    >>> [round(ramp.sparsity_at(t, final=0.9), 4) for t in (0, 1, 2, 5, 10, 11)]
    [0.0, 0.2439, 0.4392, 0.7875, 0.9, 0.9]
    """

    begin: int
    end: int
    every: int

    def __post_init__(self) -> None:
        """Reject ramps that have no length or run backwards."""
        begin, end, every = map(operator.index, (self.begin, self.end, self.every))
        if not (0 <= begin < end and every >= 1):
            msg = f"{self}: expected 0 <= begin < end and every >= 1"
            raise ValueError(msg)

    @property
    def gradual(self) -> bool:
        """True: the sparsity grows from 0."""
        return True

    def sparsity_at(self, step: int, final: float) -> float:
        """Return the sparsity of the last update at or before `step`."""
        if step >= self.end:
            return final
        since_begin = max(0, step - self.begin)
        updated = since_begin - since_begin % self.every
        return final * (1 - (1 - updated / (self.end - self.begin)) ** 3)

    def updates_at(self, step: int) -> bool:
        """Return whether `step` is begin, begin + every, ... or end."""
        if not self.begin <= step <= self.end:
            return False
        return step == self.end or (step - self.begin) % self.every == 0
