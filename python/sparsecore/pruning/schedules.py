"""Schedules: when the masks are updated, and to which sparsity.

A step is a finished optimizer step. The sparsity at step t is the one in force after t steps, so
step 0 is the state before training. A schedule is a pure function of the step: nothing to save.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from sparsecore.pruning._numbers import checked_sparsity, integer
from sparsecore.pruning._short_repr import short_repr


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


@dataclass(frozen=True, slots=True, repr=False)
class Cubic:
    """Fast at first, when there is much to spare, and slow towards the end.

    s_t = s_i + (s_f - s_i) * (1 - (1 - (t - begin) / (end - begin))**3) at t = begin,
    begin + every, ... and at `end`; in between the last value stays. The sparsity is 0 before
    `begin` and s_f from `end` on.

    Parameters
    ----------
    begin, end : int
        First and last step of the ramp, 0 <= begin < end.
    every : int
        Steps between mask updates, at least 1. Where it does not divide ``end - begin``, the last
        interval is shorter.
    initial : float
        s_i, the sparsity at `begin`, in [0, 1) and not above the final one.

    Raises
    ------
    ValueError
        Unless 0 <= begin < end, every >= 1 and 0 <= initial < 1.
    TypeError
        A step is not an integer.

    References
    ----------
    Zhu and Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model
    compression", arXiv:1710.01878, equation 1.

    Examples
    --------
    >>> ramp = Cubic(begin=0, end=10, every=1)
    >>> [round(ramp.sparsity_at(t, final=0.9), 4) for t in (0, 1, 2, 5, 10, 11)]
    [0.0, 0.2439, 0.4392, 0.7875, 0.9, 0.9]
    """

    begin: int
    end: int
    every: int
    initial: float = 0.0

    def __post_init__(self) -> None:
        """Reject ramps that have no length or run backwards."""
        begin, end, every = (
            integer(getattr(self, name), name=f"Cubic: {name}")
            for name in ("begin", "end", "every")
        )
        if not (0 <= begin < end and every >= 1):
            msg = f"{self}: expected 0 <= begin < end and every >= 1"
            raise ValueError(msg)
        checked_sparsity(self.initial, caller=f"{self}", name="initial")

    __repr__ = short_repr

    @property
    def gradual(self) -> bool:
        """True: the sparsity grows."""
        return True

    def sparsity_at(self, step: int, final: float) -> float:
        """Return the sparsity of the last update at or before `step`.

        Raises
        ------
        ValueError
            `final` is below the initial sparsity.
        """
        if final < self.initial:
            msg = f"{self}: initial is {self.initial}, above the final sparsity {final}"
            raise ValueError(msg)
        if step < self.begin:
            return 0.0
        if step >= self.end:
            return final
        since_begin = step - self.begin
        updated = since_begin - since_begin % self.every
        progress = 1 - (1 - updated / (self.end - self.begin)) ** 3
        return self.initial + (final - self.initial) * progress

    def updates_at(self, step: int) -> bool:
        """Return whether `step` is begin, begin + every, ... or end."""
        if not self.begin <= step <= self.end:
            return False
        return step == self.end or (step - self.begin) % self.every == 0


@dataclass(frozen=True, slots=True, repr=False)
class Iterative:
    """Prune a part, train, prune the next part: `rounds` times.

    The density after round k of n, on the way to the density rho = 1 - s_f, is rho**(k / n)
    ("exponential": every round takes the same fraction of what is left) or 1 - k / n * (1 - rho)
    ("linear": every round takes the same number).

    Parameters
    ----------
    rounds : int
        At least 1.
    kind : {"exponential", "linear"}
        How the density falls.
    every : int, optional
        Steps of training before each round: round k is after k * every steps. Without it the
        rounds are taken by ``Pruner.rounds()``, or one after the other by ``prune``.

    Raises
    ------
    ValueError
        `rounds` or `every` below 1, or another `kind`.
    TypeError
        `rounds` or `every` is not an integer.

    References
    ----------
    Frankle and Carbin, "The Lottery Ticket Hypothesis: Finding Sparse, Trainable Neural Networks",
    ICLR 2019, section 2; Tanaka et al., "Pruning neural networks without any data by iteratively
    conserving synaptic flow", NeurIPS 2020, algorithm 1 (exponential, 100 rounds).

    Examples
    --------
    >>> tickets = Iterative(3)
    >>> [round(tickets.sparsity_after(k, final=0.488), 3) for k in range(4)]
    [0.0, 0.2, 0.36, 0.488]
    >>> Iterative(2, "linear", every=100).sparsity_at(150, final=0.9)
    0.45
    """

    rounds: int
    kind: Literal["exponential", "linear"] = "exponential"
    every: int | None = None

    def __post_init__(self) -> None:
        """Reject rounds that are none."""
        what = "an integer or None"
        every = 1 if self.every is None else integer(self.every, name="Iterative: every", what=what)
        if integer(self.rounds, name="Iterative: rounds") < 1 or every < 1:
            msg = f"{self}: expected rounds >= 1 and every >= 1, or None"
            raise ValueError(msg)
        if self.kind not in ("exponential", "linear"):
            msg = f'{self}: kind is {self.kind!r}, expected "exponential" or "linear"'
            raise ValueError(msg)

    __repr__ = short_repr

    @property
    def gradual(self) -> bool:
        """Whether there are several rounds."""
        return self.rounds > 1

    def sparsity_after(self, done: int, final: float) -> float:
        """Return the sparsity in force after `done` rounds, 0 to `rounds`, exactly `final` last."""
        if done >= self.rounds:
            return final
        if self.kind == "linear":
            return final * done / self.rounds
        return float(1 - (1 - final) ** (done / self.rounds))

    def sparsity_at(self, step: int, final: float) -> float:
        """Return the sparsity in force after `step` steps; 0 where the steps do not say."""
        return self.sparsity_after(0 if self.every is None else step // self.every, final)

    def updates_at(self, step: int) -> bool:
        """Return whether a round is taken after `step` steps."""
        if self.every is None:
            return False
        return 0 < step <= self.rounds * self.every and step % self.every == 0
