"""From a torch model to its masks: which weights, whether the request has meaning, which to keep.

Nothing here changes a model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor, nn

from sparsecore.pruning._arrays import checked_scores
from sparsecore.pruning.allocation import checked_sparsity, uniform
from sparsecore.pruning.patterns import NM, Pattern, prune_mask
from sparsecore.pruning.schedules import Schedule

Score: TypeAlias = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
Allocation: TypeAlias = Callable[[Mapping[str, Tensor], float], Mapping[str, int]]
Where: TypeAlias = Callable[[str, Tensor], bool]

_PRUNABLE = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)


def selected_weights(
    caller: str, model: nn.Module, pattern: Pattern, where: Where | None
) -> dict[str, Tensor]:
    """Return the weights of Linear and Conv modules by name, a shared one once.

    Raises
    ------
    ValueError
        None is left, or one is too narrow for the pattern.
    """
    weights: dict[str, Tensor] = {}
    for prefix, module in model.named_modules():
        # Not module.weight: a parametrized weight is computed, and nothing to write zeros to.
        weight = dict(module.named_parameters(recurse=False)).get("weight")
        if weight is None or not isinstance(module, _PRUNABLE):
            continue
        name = f"{prefix}.weight" if prefix else "weight"
        tied = any(weight is other for other in weights.values())
        if not tied and (where is None or where(name, weight)):
            weights[name] = weight
    if not weights:
        narrowed = "" if where is None else " that where= selects"
        msg = f"{caller}: {type(model).__name__} has no Linear or Conv weight{narrowed}"
        raise ValueError(msg)
    for name, weight in weights.items():
        _check_width(caller, name, weight, pattern)
    return weights


def check_kinds(
    caller: str,
    *,
    score: object,
    allocation: object,
    pattern: object,
    where: object,
    schedule: object,
) -> None:
    """Raise TypeError where a part of a request is not of its kind, a name in its place say."""
    functions = (
        ("score", score, "a function such as scores.magnitude"),
        ("allocation", allocation, "a function such as allocation.global_"),
        ("where", where, "a function of (name, weight)"),
    )
    for name, value, expected in functions:
        if not (callable(value) or (name == "where" and value is None)):
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


def check_meaning(
    caller: str, sparsity: float, allocation: Allocation, pattern: Pattern, schedule: Schedule
) -> None:
    """Raise ValueError where the parts of a request contradict each other."""
    checked_sparsity(sparsity, caller=caller)
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


def check_held(weights: Mapping[str, Tensor], optimizer: torch.optim.Optimizer) -> None:
    """Raise ValueError if the optimizer, whose steps keep the masks in force, lacks a weight."""
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    missing = [name for name, weight in weights.items() if id(weight) not in held]
    if missing:
        msg = (
            f"Pruner: optimizer does not hold {', '.join(missing)}; expected every pruned weight "
            "in its parameter groups (narrow the selection by where=)"
        )
        raise ValueError(msg)


def check_free(weights: Mapping[str, Tensor], taken: frozenset[int]) -> None:
    """Raise ValueError if the `taken` tensors, by id, of other pruners are among the weights."""
    twice = [name for name, weight in weights.items() if id(weight) in taken]
    if twice:
        msg = (
            f"Pruner: {', '.join(twice)} already pruned by another Pruner on this optimizer, "
            "expected one at a time: call remove() of the other first"
        )
        raise ValueError(msg)


def best_masks(
    caller: str,
    weights: Mapping[str, Tensor],
    sparsity: float,
    score: Score,
    allocation: Allocation,
    pattern: Pattern,
    survivors: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Score, allocate, project; weights outside the `survivors` masks rank below all others.

    Raises
    ------
    ValueError
        A score is NaN, or missing, or of another shape than its weight.
    """
    scores = _scores_of(caller, weights, score)
    if survivors is not None:
        scores = {n: s.masked_fill(~survivors[n], -math.inf) for n, s in scores.items()}
    fixed = {name: pattern.fixed_count(tuple(s.shape)) for name, s in scores.items()}
    counts = {name: count for name, count in fixed.items() if count is not None}
    if not counts:
        counts = dict(allocation(scores, sparsity))
    return {name: prune_mask(s, counts[name], pattern) for name, s in scores.items()}


def _check_width(caller: str, name: str, weight: Tensor, pattern: Pattern) -> None:
    if isinstance(pattern, NM) and weight.shape[-1] < pattern.m:
        msg = (
            f"{caller}: {pattern} takes groups along the last axis, but {name} has shape "
            f"{tuple(weight.shape)}, narrower than one group; leave it out by where="
        )
        raise ValueError(msg)


def _scores_of(caller: str, weights: Mapping[str, Tensor], score: Score) -> dict[str, Tensor]:
    scores = score(weights)
    for name, weight in weights.items():
        found = tuple(scores[name].shape) if name in scores else None
        if found != tuple(weight.shape):
            expected = tuple(weight.shape)
            msg = f"{caller}: score: {name} got scores of shape {found}, expected {expected}"
            raise ValueError(msg)
    return {
        name: checked_scores(scores[name], name=f"{caller}: score of {name}", origin=weight)
        for name, weight in weights.items()
    }
