"""Rewind: to which step training goes back after a round of pruning."""

from __future__ import annotations

from dataclasses import dataclass

from sparsecore.pruning._numbers import integer


@dataclass(frozen=True, slots=True)
class Rewind:
    """After each round of pruning, go back to what was after `step` steps; only the masks stay.

    Goes with ``Iterative``, as ``Pruner(..., schedule=Iterative(n), rewind=Rewind(0))``: the
    lottery ticket. Weights, buffers (BatchNorm), the optimizer's state and the learning-rate
    scheduler's go back, and the count of steps within a round with them.

    Parameters
    ----------
    step : int
        0 is the state that the pruner found: the initialisation.

    Raises
    ------
    ValueError
        A negative `step`.
    TypeError
        `step` is not an integer.

    References
    ----------
    Frankle and Carbin, ICLR 2019, section 2 (step 0); Frankle et al., "Linear Mode Connectivity and
    the Lottery Ticket Hypothesis", ICML 2020, section 3 (step k).

    Examples
    --------
    >>> Rewind(500)
    Rewind(step=500)
    """

    step: int

    def __post_init__(self) -> None:
        """Reject states before the first."""
        if integer(self.step, name="Rewind: step") < 0:
            msg = f"{self}: expected a step of at least 0"
            raise ValueError(msg)
