"""The whole model: put the choices in, take back what makes it wrong or does not make it faster.

A layer that is faster alone can be slower in its model: its neighbours leave other data in the
caches, and other threads warm.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import nn

from sparsecore.durations import duration
from sparsecore.nn.accuracy import outputs_difference
from sparsecore.nn.choose import Decision
from sparsecore.nn.example import Example, undisturbed
from sparsecore.nn.fusion import Fusion
from sparsecore.nn.layers import install
from sparsecore.timing import Timer

__all__ = ["Outcome", "Times", "Trial", "put", "settle"]


# Times the error that stored values explain. The layers' bounds are of random inputs; a model's
# own can cancel more in its largest output, and later layers can amplify. Seen: 2.9 times the bound
# in single layers of 8 outputs, 2.6 in MobileNet with random weights, where BatchNorm amplifies.
_SPARE = 4.0


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
    # What was fused, which the decisions' layers are a part of; and the error that explains.
    fusion: Fusion = field(default_factory=Fusion)
    fusion_error: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """Decisions that hold, and what they do to the model; times are None where not measured."""

    decisions: tuple[Decision, ...]
    error: float
    times: "Times | None" = None
    is_fused: bool = False


@dataclass(frozen=True, slots=True)
class Times:
    """Median seconds of the model: as it was, with dense layers fused, and as decided."""

    before: float
    fused: float
    after: float
    # Whether the model's slow samples, too, were faster than the fast ones of what it is compared
    # with: on a busy machine a median alone can be off by a factor.
    is_clear: bool = True

    @property
    def dense(self) -> float:
        """Of the faster dense one."""
        return min(self.before, self.fused)

    def smaller(self, other: "Times") -> "Times":
        """Return the smaller of both measurements, each."""
        return Times(
            min(self.before, other.before),
            min(self.fused, other.fused),
            min(self.after, other.after),
        )


def settle(trial: Trial, decisions: Sequence[Decision], timer: Timer | None) -> Outcome:
    """Put the decisions into the fused model, check its output, and measure it if there is a timer.

    All go back to dense where the output differs too much. While the model is not faster than the
    dense one, the half that saved the least goes back; what was fused goes back, too, where it
    alone is not faster. Unless the samples leave no doubt, that is decided by two measurements.
    After an exception all is as it was.
    """
    try:
        outcome = _agreeing(trial, tuple(decisions))
        if timer is not None:
            outcome = _faster(trial, outcome, timer)
        trial.fusion.chain(True)
    except BaseException:
        put(decisions, dense=True)
        trial.fusion.chain(False)
        trial.fusion.put(fused=False)
        raise
    return outcome


def put(decisions: Sequence[Decision], *, dense: bool = False) -> None:
    """Put what was decided into the model, or the dense layers."""
    for decision in decisions:
        site = decision.layer.site
        install(site, site.dense if dense else decision.module)


def _exchanged(decisions: Sequence[Decision]) -> list[Decision]:
    return [decision for decision in decisions if decision.choice != "dense"]


def _without(decisions: Sequence[Decision], names: frozenset[str], why: str) -> list[Decision]:
    """Undo the decisions of these layers, in the model, too; `why` completes their reasons."""
    put([decision for decision in decisions if decision.name in names], dense=True)
    return [
        decision.back_to_dense(f"{decision.why}; but {why}") if decision.name in names else decision
        for decision in decisions
    ]


def _agreeing(trial: Trial, decisions: Sequence[Decision]) -> Outcome:
    """Put the decisions in, or all dense where the model's output then differs too much."""
    fused = bool(trial.fusion.changes)
    exchanged = _exchanged(decisions)
    if not exchanged:
        return Outcome(tuple(decisions), _error(trial) if fused else 0.0, is_fused=fused)
    put(exchanged)
    trial.fusion.chain(True)
    error = _error(trial)
    limit = trial.max_error
    if limit is None:
        # Layers round their stored values independently of each other: squares add up.
        stored = math.hypot(*(d.stored for d in exchanged))
        limit = trial.fusion_error + sum(d.tolerance for d in exchanged) + _SPARE * stored
    if error <= limit:
        return Outcome(tuple(decisions), error, is_fused=fused)
    names = frozenset(decision.name for decision in exchanged)
    why = f"the model's output differs by {error:.2g} with it, where {limit:.2g} is allowed"
    undone = tuple(_without(decisions, names, why))
    return Outcome(undone, _error(trial) if fused else 0.0, is_fused=fused)


def _error(trial: Trial) -> float:
    return outputs_difference(trial.example.output(trial.model), trial.reference)


def _faster(trial: Trial, outcome: Outcome, timer: Timer) -> Outcome:
    """Let measured layers go back to dense, half of them at a time, until the model is faster."""
    decisions: Sequence[Decision] = outcome.decisions
    while True:
        times = _times(trial, decisions, timer)
        movable = [d for d in _exchanged(decisions) if d.name not in trial.given]
        fused_alone = outcome.is_fused and not _exchanged(decisions)
        if (movable or fused_alone) and not times.is_clear:
            # Other work on the machine only ever adds time: the smaller medians are the truer.
            times = times.smaller(_times(trial, decisions, timer))
        if times.after < times.dense or not movable:
            break
        ranked = sorted(movable, key=lambda decision: decision.saved)
        names = frozenset(decision.name for decision in ranked[: (len(ranked) + 1) // 2])
        why = f"the whole model took {duration(times.after)} with it, dense {duration(times.dense)}"
        decisions = _without(decisions, names, why)
    is_fused = outcome.is_fused
    if is_fused and not _exchanged(decisions) and times.fused >= times.before:
        trial.fusion.put(fused=False)
        is_fused, times = False, Times(times.before, times.fused, times.before)
    error = _error(trial) if is_fused or _exchanged(decisions) else 0.0
    return Outcome(tuple(decisions), error, times, is_fused)


def _times(trial: Trial, decisions: Sequence[Decision], timer: Timer) -> Times:
    """Measure the model dense, fused, and with the decisions, which it has afterwards."""
    exchanged = _exchanged(decisions)
    example = trial.example.copy()
    now = "after"

    def run(state: str) -> Any:
        nonlocal now
        # Only the first call of a sample exchanges anything.
        if state != now:
            _into(trial, exchanged, state)
            now = state
        return example.call(trial.model)

    states = ["before"]
    if trial.fusion.changes:
        states.append("fused")
    if exchanged:
        states.append("after")
    with undisturbed(trial.model):
        measured = timer({_LABELS[state]: partial(run, state) for state in states})
    _into(trial, exchanged, "after")
    medians = {state: measured[_LABELS[state]].median for state in states}
    fused = medians.get("fused", medians["before"])
    *others, last = (measured[_LABELS[state]] for state in states)
    is_clear = all(last.p90 < other.p10 for other in others)
    return Times(medians["before"], fused, medians.get("after", fused), is_clear)


_LABELS = {"before": "dense", "fused": "fused", "after": "sparse"}


def _into(trial: Trial, exchanged: Sequence[Decision], state: str) -> None:
    """Make the model what it was before, the fused dense one, or the decided one."""
    put(exchanged, dense=True)
    trial.fusion.put(fused=state != "before")
    if state == "after":
        put(exchanged)
    trial.fusion.chain(state == "after")
