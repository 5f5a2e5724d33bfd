"""A request to prune a model: its parts checked, before anything changes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from sparsecore.distributed.agreement import rank_and_size
from sparsecore.pruning.allocation import Explicit, checked_sparsity, uniform
from sparsecore.pruning.model_checks import check_model, check_writable
from sparsecore.pruning.model_masks import Allocation, Score, Where, best_masks, selected_weights
from sparsecore.pruning.model_scores import bound_score
from sparsecore.pruning.pattern import Pattern
from sparsecore.pruning.ranks import check_same_on_ranks
from sparsecore.pruning.schedules import Iterative, Schedule
from sparsecore.pruning.wrapped_models import any_sharded

__all__ = ["Request", "checked_request"]

_SAME = "the same weights on every rank, and a score that is reduced over them by group="


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """What to prune, how far, and by which score, allocation and pattern, all of which fit."""

    caller: str
    weights: Mapping[str, Tensor]
    sparsity: float
    score: Score
    allocation: Allocation
    pattern: Pattern
    group: Any = None

    def masks(
        self,
        weights: Mapping[str, Tensor],
        sparsity: float,
        survivors: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Return the masks of weights as they are now, at a sparsity on the way to the final one.

        As `best_masks`. Where there is a process group, its ranks are asked whether they have the
        same masks.
        """
        masks = best_masks(
            self.caller, weights, sparsity, self.score, self.allocation, self.pattern, survivors
        )
        if self.group is not None and not any_sharded(masks):
            check_same_on_ranks(self.caller, masks, group=self.group, expected=_SAME)
        return masks


def checked_request(
    caller: str,
    model: nn.Module,
    sparsity: float | None,
    *,
    score: Any,
    allocation: Any,
    pattern: Pattern,
    schedule: Schedule,
    where: Where | None,
    batches: Any,
    loss: Any,
    group: Any,
) -> Request:
    """Return the request.

    Raises
    ------
    TypeError
        A part that is not of its kind, a name in its place say.
    ValueError
        Parts that contradict each other, or weights that have no room for the pattern.
    """
    check_model(caller, model)
    _check_kinds(caller, score, allocation, pattern, schedule, where)
    is_explicit = isinstance(allocation, Mapping | Explicit)
    if not is_explicit or sparsity is not None:
        _check_meaning(caller, sparsity, allocation, pattern, schedule)
    _check_batches(caller, batches, schedule)
    weights = selected_weights(caller, model, pattern, where)
    check_writable(caller, weights)
    group = _checked_group(caller, group, weights)
    bound = bound_score(caller, score, model=model, batches=batches, loss=loss, group=group)
    if isinstance(allocation, Mapping):
        allocation = Explicit(allocation)
    if is_explicit:
        sparsity = _explicit_sparsity(caller, sparsity, allocation, weights)
        _check_meaning(caller, sparsity, allocation, pattern, schedule)
    assert sparsity is not None
    return Request(caller, weights, float(sparsity), bound, allocation, pattern, group)


def _checked_group(caller: str, group: Any, weights: Mapping[str, Tensor]) -> Any:
    """Return the ranks that are to have the same masks: those of sharded weights are their own."""
    if any_sharded(weights):
        from sparsecore.pruning.dtensors import local_blocks

        return local_blocks(weights)[1]  # type: ignore[arg-type]  # it says which is not
    if group is not None:
        rank_and_size(group, caller=caller)
    return group


def _check_kinds(
    caller: str, score: object, allocation: object, pattern: object, schedule: object, where: object
) -> None:
    functions = (
        ("score", score, "a function such as scores.magnitude"),
        ("allocation", allocation, "a function such as allocation.global_, or a mapping"),
        ("where", where, "a function of (name, weight)"),
    )
    for name, value, expected in functions:
        if callable(value) or (name == "where" and value is None):
            continue
        if not (name == "allocation" and isinstance(value, Mapping)):
            raise TypeError(_kind_message(caller, name, value, expected))
    values = (
        ("pattern", pattern, "select", "Unstructured() or NM(n, m)"),
        ("schedule", schedule, "updates_at", "OneShot() or Cubic(begin, end, every)"),
    )
    for name, value, method, expected in values:
        is_one = callable(getattr(value, method, None)) and not isinstance(value, type)
        if not is_one:
            raise TypeError(_kind_message(caller, name, value, expected))


def _kind_message(caller: str, name: str, value: object, expected: str) -> str:
    return f"{caller}: {name} is {value!r}, a {type(value).__name__}, expected {expected}"


def _check_meaning(
    caller: str, sparsity: float | None, allocation: object, pattern: Pattern, schedule: Schedule
) -> None:
    """Raise ValueError where the parts of a request contradict each other."""
    if sparsity is None:
        msg = f"{caller}: sparsity is None, expected a fraction in [0, 1); explicit counts have one"
        raise ValueError(msg)
    schedule.sparsity_at(0, checked_sparsity(sparsity, caller=caller))
    if pattern.sparsity is None:
        return
    if not math.isclose(sparsity, pattern.sparsity):
        msg = f"{caller}: sparsity is {sparsity}, but {pattern} has exactly {pattern.sparsity}"
        raise ValueError(msg)
    if allocation is not uniform:
        msg = f"{caller}: {pattern} fixes the count of every layer; allocation must be uniform"
        raise ValueError(msg)
    if schedule.gradual:
        msg = f"{caller}: {pattern} has one sparsity, {schedule} passes through others; use OneShot"
        raise ValueError(msg)


def _check_batches(caller: str, batches: object, schedule: Schedule) -> None:
    once = not schedule.gradual and not isinstance(schedule, Iterative)
    if isinstance(batches, Iterator) and not once:
        msg = (
            f"{caller}: batches is a {type(batches).__name__}, an iterator, which the first round "
            "uses up; expected what can be iterated anew, as a list or a DataLoader"
        )
        raise ValueError(msg)


def _explicit_sparsity(
    caller: str, sparsity: float | None, allocation: Explicit, weights: Mapping[str, Tensor]
) -> float:
    """Return the sparsity of explicit counts; raise ValueError where it is not the one asked."""
    found = allocation.sparsity(weights)
    size = sum(weight.numel() for weight in weights.values())
    if sparsity is not None and round(sparsity * size) != round(found * size):
        msg = f"{caller}: sparsity is {sparsity}, but the counts of allocation have {found}"
        raise ValueError(msg)
    return found
