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
from sparsecore.pruning.pattern import Pattern
from sparsecore.pruning.patterns import prune_mask
from sparsecore.pruning.wrapped_models import any_sharded

Score: TypeAlias = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
ScoreFunction: TypeAlias = Callable[..., Mapping[str, Tensor]]
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
        shape = tuple(weight.shape)
        obstacle = pattern.obstacle(shape)
        if obstacle is not None:
            msg = (
                f"{caller}: {pattern} has no room in {name}: {name} has shape {shape}, {obstacle}; "
                "leave it out by where="
            )
            raise ValueError(msg)
    return weights


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

    Counts that the pattern cannot have in a layer are rounded to the nearest that it can. Of
    sharded weights the masks are DTensors, by ``sharded_masks``.

    Raises
    ------
    ValueError
        A score is NaN, or missing, or of another shape than its weight.
    """
    if any_sharded(weights):
        # Imported here: who has no sharded weight need not wait for torch's DTensor.
        from sparsecore.pruning.sharded_masks import best_sharded_masks

        return best_sharded_masks(caller, weights, sparsity, score, allocation, pattern, survivors)
    scores = _scores_of(caller, weights, score)
    if survivors is not None:
        scores = {n: s.masked_fill(~survivors[n], -math.inf) for n, s in scores.items()}
    fixed = {name: pattern.fixed_count(tuple(s.shape)) for name, s in scores.items()}
    counts = {name: count for name, count in fixed.items() if count is not None}
    if not counts:
        comparable = {name: pattern.spread(s) for name, s in scores.items()}
        allocated = allocation(comparable, sparsity)
        if set(allocated) != set(scores):
            msg = f"{caller}: allocation gave {sorted(allocated)}, expected {sorted(scores)}"
            raise ValueError(msg)
        within = survivors or dict.fromkeys(scores)
        counts = {
            name: pattern.round_count(tuple(s.shape), allocated[name], within[name])
            for name, s in scores.items()
        }
    return {name: prune_mask(s, counts[name], pattern) for name, s in scores.items()}


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
