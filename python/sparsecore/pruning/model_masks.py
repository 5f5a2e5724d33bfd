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
from sparsecore.pruning._numbers import integer
from sparsecore.pruning.model_checks import check_model, check_values
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
    TypeError
        `model` is no module.
    ValueError
        None is left, one has no values yet, or is too narrow for the pattern.
    """
    check_model(caller, model)
    weights: dict[str, Tensor] = {}
    computed: list[str] = []
    for prefix, module in model.named_modules():
        if not isinstance(module, _PRUNABLE):
            continue
        name = f"{prefix}.weight" if prefix else "weight"
        # Not module.weight: a parametrized weight is computed, and nothing to write zeros to.
        own = dict(module.named_parameters(recurse=False)).get("weight")
        if own is None:
            computed.append(name)
            continue
        tied = any(own is other for other in weights.values())
        if not tied and (where is None or where(name, own)):
            weights[name] = own
    if not weights:
        narrowed = "" if where is None else " that where= selects"
        msg = f"{caller}: {type(model).__name__} has no Linear or Conv weight{narrowed}"
        if computed:
            msg += f"; {', '.join(computed)} is no parameter but computed from others, which stay"
        raise ValueError(msg)
    check_values(caller, weights)
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
    TypeError
        What the score or the allocation returns is no mapping to tensors, or to integers.
    ValueError
        A score is NaN, or missing, or of another shape than its weight; a count is missing, or
        more than there are weights.
    """
    if any_sharded(weights):
        # Imported here: who has no sharded weight need not wait for torch's DTensor.
        from sparsecore.pruning.sharded_masks import best_sharded_masks

        return best_sharded_masks(caller, weights, sparsity, score, allocation, pattern, survivors)
    scores = _scores_of(caller, weights, score)
    if survivors is not None:
        scores = {name: _below(score, survivors[name]) for name, score in scores.items()}
    fixed = {name: pattern.fixed_count(tuple(s.shape)) for name, s in scores.items()}
    counts = {name: count for name, count in fixed.items() if count is not None}
    if not counts:
        comparable = {name: pattern.spread(s) for name, s in scores.items()}
        allocated = _checked_counts(caller, allocation(comparable, sparsity), scores)
        within = survivors or dict.fromkeys(scores)
        counts = {
            name: pattern.round_count(tuple(s.shape), allocated[name], within[name])
            for name, s in scores.items()
        }
    return {name: prune_mask(s, counts[name], pattern) for name, s in scores.items()}


def _scores_of(caller: str, weights: Mapping[str, Tensor], score: Score) -> dict[str, Tensor]:
    scores = score(weights)
    if not isinstance(scores, Mapping):
        kind = type(scores).__name__
        msg = f"{caller}: score returned {kind}, expected a mapping of name to tensor"
        raise TypeError(msg)
    for name, weight in weights.items():
        if name in scores and not isinstance(scores[name], Tensor):
            msg = f"{caller}: score: {name} got {type(scores[name]).__name__}, expected a tensor"
            raise TypeError(msg)
        found = tuple(scores[name].shape) if name in scores else None
        if found != tuple(weight.shape):
            expected = tuple(weight.shape)
            msg = f"{caller}: score: {name} got scores of shape {found}, expected {expected}"
            raise ValueError(msg)
    return {
        name: checked_scores(
            scores[name].to(weight.device), name=f"{caller}: score of {name}", origin=weight
        )
        for name, weight in weights.items()
    }


def _below(score: Tensor, survivors: Tensor) -> Tensor:
    """Return scores by which what has not survived ranks below all that has."""
    floating = score if score.is_floating_point() else score.double()
    least = torch.finfo(floating.dtype).min
    return floating.clamp(min=least).masked_fill(~survivors, -math.inf)


def _checked_counts(caller: str, counts: object, scores: Mapping[str, Tensor]) -> dict[str, int]:
    if not isinstance(counts, Mapping):
        kind = type(counts).__name__
        msg = f"{caller}: allocation returned {kind}, expected a mapping of name to kept count"
        raise TypeError(msg)
    if set(counts) != set(scores):
        msg = f"{caller}: allocation gave {sorted(counts)}, expected {sorted(scores)}"
        raise ValueError(msg)
    checked = {n: integer(counts[n], name=f"{caller}: allocation: {n}") for n in scores}
    for name, count in checked.items():
        size = scores[name].numel()
        if not 0 <= count <= size:
            msg = f"{caller}: allocation gave {count} for {name}, expected 0 to its {size} weights"
            raise ValueError(msg)
    return checked
