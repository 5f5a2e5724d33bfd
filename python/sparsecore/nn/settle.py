"""The whole model: put the choices in, take back what makes it wrong or does not make it faster.

A layer that is faster alone can be slower in its model: its neighbours leave other data in the
caches, and other threads warm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from sparsecore.nn.accuracy import outputs_difference
from sparsecore.nn.choose import Decision
from sparsecore.nn.example import Example, undisturbed
from sparsecore.nn.layers import install
from sparsecore.nn.report import duration
from sparsecore.timing import Timer

__all__ = ["Outcome", "Trial", "settle"]


@dataclass(frozen=True, slots=True)
class Trial:
    """What decisions are tried on."""

    model: nn.Module
    example: Example
    # The dense model's output on the example.
    reference: Any
    max_error: float | None
    # Layers that were decided in advance: they do not go back for the sake of time.
    given: frozenset[str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Decisions that hold, and what they do to the model; times are None where not measured."""

    decisions: tuple[Decision, ...]
    error: float
    seconds_before: float | None = None
    seconds_after: float | None = None


def settle(trial: Trial, decisions: Sequence[Decision], timer: Timer | None) -> Outcome:
    """Put the decisions into the model, check its output, and measure it if there is a timer.

    All go back to dense where the output differs too much. While the model is not faster than the
    dense one, in two measurements, the half that saved the least goes back. After an exception all
    is dense.
    """
    try:
        outcome = _agreeing(trial, tuple(decisions))
        return outcome if timer is None else _faster(trial, outcome, timer)
    except BaseException:
        _put(decisions, dense=True)
        raise


def _put(decisions: Sequence[Decision], *, dense: bool = False) -> None:
    for decision in decisions:
        site = decision.layer.site
        install(site, site.linear if dense else decision.module)


def _exchanged(decisions: Sequence[Decision]) -> list[Decision]:
    return [decision for decision in decisions if decision.choice != "dense"]


def _without(decisions: Sequence[Decision], names: frozenset[str], why: str) -> list[Decision]:
    """Undo the decisions of these layers, in the model, too; `why` completes their reasons."""
    _put([decision for decision in decisions if decision.name in names], dense=True)
    return [
        decision.back_to_dense(f"{decision.why}; but {why}") if decision.name in names else decision
        for decision in decisions
    ]


def _agreeing(trial: Trial, decisions: Sequence[Decision]) -> Outcome:
    """Put the decisions in, or all dense where the model's output then differs too much."""
    exchanged = _exchanged(decisions)
    if not exchanged:
        return Outcome(tuple(decisions), 0.0)
    _put(exchanged)
    error = _error(trial)
    limit = trial.max_error
    if limit is None:
        limit = sum(d.tolerance for d in exchanged)
    if error <= limit:
        return Outcome(tuple(decisions), error)
    names = frozenset(decision.name for decision in exchanged)
    why = f"the model's output differs by {error:.2g} with it, where {limit:.2g} is allowed"
    return Outcome(tuple(_without(decisions, names, why)), 0.0)


def _error(trial: Trial) -> float:
    return outputs_difference(trial.example.output(trial.model), trial.reference)


def _faster(trial: Trial, outcome: Outcome, timer: Timer) -> Outcome:
    """Let measured layers go back to dense, half of them at a time, until the model is faster."""
    decisions: Sequence[Decision] = outcome.decisions
    while True:
        before, after = _times(trial, decisions, timer)
        movable = [d for d in _exchanged(decisions) if d.name not in trial.given]
        if movable and after >= before:
            # Other work on the machine only ever adds time: the smaller medians are the truer.
            again = _times(trial, decisions, timer)
            before, after = min(before, again[0]), min(after, again[1])
        if after < before or not movable:
            break
        ranked = sorted(movable, key=lambda decision: decision.saved)
        names = frozenset(decision.name for decision in ranked[: (len(ranked) + 1) // 2])
        why = f"the whole model took {duration(after)} with it, dense {duration(before)}"
        decisions = _without(decisions, names, why)
    error = _error(trial) if _exchanged(decisions) else 0.0
    return Outcome(tuple(decisions), error, before, after)


def _times(trial: Trial, decisions: Sequence[Decision], timer: Timer) -> tuple[float, float]:
    """Return the median seconds of the model, dense and with the decisions."""
    exchanged = _exchanged(decisions)
    example = trial.example.copy()
    dense_now = False

    def run(*, dense: bool) -> Any:
        nonlocal dense_now
        # Only the first call of a sample exchanges anything.
        if dense is not dense_now:
            _put(exchanged, dense=dense)
            dense_now = dense
        return example.call(trial.model)

    contenders = {"dense": partial(run, dense=True)}
    if exchanged:
        contenders["sparse"] = partial(run, dense=False)
    with undisturbed(trial.model):
        times = timer(contenders)
    _put(exchanged)
    before = times["dense"].median
    return before, times["sparse"].median if exchanged else before
