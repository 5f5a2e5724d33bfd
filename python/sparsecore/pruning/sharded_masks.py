"""The best weights of DTensors: masks of local shards, without gathering scores.

Counts are those of whole layers; which entries of a layer they are is found by
`distributed_selection`, with the ties of one process. A mask is a DTensor placed as its weight.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from sparsecore.pruning import allocation as allocations
from sparsecore.pruning._arrays import checked_scores
from sparsecore.pruning.distributed_selection import global_counts, global_masks
from sparsecore.pruning.dtensors import local_blocks, local_mask, local_slices, placed_as
from sparsecore.pruning.pattern import Pattern
from sparsecore.pruning.patterns import NM, Unstructured, prune_mask
from sparsecore.pruning.rank_sums import agreed
from sparsecore.pruning.wrapped_models import is_sharded

if TYPE_CHECKING:
    from sparsecore.pruning.model_masks import Allocation, Score

__all__ = ["best_sharded_masks", "moved_mask", "sharded_mask"]

# These look at shapes alone.
_BY_SHAPE = (allocations.uniform, allocations.erdos_renyi)


def sharded_mask(mask: Tensor, weight: Any) -> Tensor:
    """Return a mask placed as the weight: the rank's part of a whole one; a DTensor as it is."""
    return mask if is_sharded(mask) else placed_as(local_mask(mask, weight), weight)


def best_sharded_masks(
    caller: str,
    weights: Mapping[str, Any],
    sparsity: float,
    score: Score,
    allocation: Allocation,
    pattern: Pattern,
    survivors: Mapping[str, Any] | None = None,
) -> dict[str, Tensor]:
    """Score, allocate, select, as ``model_masks.best_masks`` does, of DTensors.

    A collective of the ranks of the weights' mesh.

    Raises
    ------
    ValueError
        On every rank: weights that are not all sharded along axis 0 over one mesh; a pattern or an
        allocation that needs whole scores; a score that is NaN, or that is not placed as its
        weight.
    """
    _check_pattern(caller, pattern, weights)
    group = local_blocks(weights)[1]
    found = score(weights)
    local = agreed(caller, lambda: _local_scores(caller, weights, found, survivors), group=group)
    if isinstance(pattern, NM):
        masks = {
            n: prune_mask(s, pattern.fixed_count(tuple(s.shape)), pattern) for n, s in local.items()
        }
    else:
        counts = _counts(caller, weights, local, sparsity, allocation, group)
        by_row = isinstance(pattern, Unstructured) and pattern.axis is not None
        masks = {
            name: _best_of_rows(s, counts[name], pattern, weights[name])
            if by_row
            else global_masks({name: s}, counts[name], group=group)[name]
            for name, s in local.items()
        }
    return {name: placed_as(mask, weights[name]) for name, mask in masks.items()}


def moved_mask(
    name: str, weight: Any, mask: Any, gradient: Any, *, count: int, kept: int
) -> Tensor:
    """Return RigL's next mask: `count` of the smallest weights leave, as many come by gradient.

    A collective of the ranks of the weight's mesh.

    Parameters
    ----------
    name : str
        What an error calls the weight.
    weight, mask, gradient : DTensor
        Placed alike.
    count : int
        How many leave.
    kept : int
        How many entries the mask has.

    Returns
    -------
    DTensor of bool
        Of equal magnitudes the lower positions stay, and come, as in ``growth``.

    Raises
    ------
    ValueError
        On every rank: a weight or gradient that is NaN.

    References
    ----------
    Evci et al., "Rigging the Lottery: Making All Tickets Winners", ICML 2020, section 3.
    """
    parts, group = local_blocks({"weight": weight, "gradient": gradient, "mask": mask})
    # Below every magnitude are those that do not compete.
    held = {name: parts["weight"].abs().masked_fill(~parts["mask"], -1)}
    stays = global_masks(held, kept - count, group=group)[name]
    outside = {f"gradient of {name}": parts["gradient"].abs().masked_fill(stays, -1)}
    (grown,) = global_masks(outside, count, group=group).values()
    return placed_as(stays | grown, weight)


def _check_pattern(caller: str, pattern: Pattern, weights: Mapping[str, Any]) -> None:
    axis = getattr(pattern, "axis", None)
    for name, weight in weights.items():
        if isinstance(pattern, Unstructured) and (axis is None or axis % weight.ndim == 0):
            continue
        if isinstance(pattern, NM) and axis is not None and axis % weight.ndim != 0:
            continue
        msg = (
            f"{caller}: {pattern} groups entries of {name!r} that lie on several ranks (it is "
            "sharded along axis 0); expected Unstructured(), Unstructured(axis=0), or NM along "
            "another axis; others go before fully_shard"
        )
        raise ValueError(msg)


def _local_scores(
    caller: str,
    weights: Mapping[str, Any],
    found: Mapping[str, Any],
    survivors: Mapping[str, Any] | None,
) -> dict[str, Tensor]:
    local: dict[str, Tensor] = {}
    for name, weight in weights.items():
        score: Any = found.get(name)
        is_placed = is_sharded(score) and score.placements == weight.placements
        if not is_placed or score.shape != weight.shape:
            kind = getattr(score, "placements", type(score).__name__)
            msg = (
                f"{caller}: score: {name} got scores placed {kind}, expected a DTensor of shape "
                f"{tuple(weight.shape)} placed {weight.placements}, as its weight"
            )
            raise ValueError(msg)
        origin = weight.detach().to_local()
        part = checked_scores(score.to_local(), name=f"{caller}: score of {name}", origin=origin)
        if survivors is not None:
            part = part.masked_fill(~survivors[name].to_local(), -math.inf)
        local[name] = part
    return local


def _counts(
    caller: str,
    weights: Mapping[str, Any],
    local: Mapping[str, Tensor],
    sparsity: float,
    allocation: Any,
    group: Any,
) -> Mapping[str, int]:
    rule = allocation
    while isinstance(rule, functools.partial):
        rule = rule.func
    if rule is allocations.global_:
        return global_counts(local, sparsity, group=group)
    if rule in _BY_SHAPE or isinstance(rule, allocations.Explicit):
        counts: Mapping[str, int] = allocation(
            {name: tuple(weight.shape) for name, weight in weights.items()}, sparsity
        )
        return counts
    msg = (
        f"{caller}: allocation {getattr(rule, '__name__', rule)} takes whole scores, which no rank "
        "has of sharded weights; expected uniform, erdos_renyi, global_ or counts by name"
    )
    raise ValueError(msg)


def _best_of_rows(scores: Tensor, kept: int, pattern: Pattern, weight: Any) -> Tensor:
    """Return the rank's rows of a mask whose rows keep the same share, the first ones one more."""
    share, more = divmod(kept, weight.shape[0])
    own = local_slices(weight)[0]
    richer = min(max(more - own.start, 0), len(scores))
    mask: Tensor = prune_mask(scores, share * len(scores) + richer, pattern)
    return mask
