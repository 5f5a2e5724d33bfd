"""The linear layers of one block: found, observed, pruned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sparsecore.pruning._arrays import checked_scores, full_mask, top_of_rows
from sparsecore.pruning.blockwise.request import PrunedLayer, Request
from sparsecore.pruning.input_moments import (
    InputMoments,
    hessian,
    is_linear,
    is_transposed,
    norms,
)
from sparsecore.pruning.model_masks import Where
from sparsecore.pruning.patterns import NM, prune_mask
from sparsecore.pruning.ranks import check_same_on_ranks
from sparsecore.pruning.scores import magnitude, sparsegpt, wanda

__all__ = ["best_of_rows", "check_same_weights", "linear_layers", "prune_layers"]


def linear_layers(
    block: nn.Module, prefix: str, where: Where | None, seen: set[int]
) -> dict[str, nn.Module]:
    """Return a block's linear layers by the names of their weights, a shared weight once.

    `seen` has the ids of weights that are found already, and gets those of this block.
    """
    found: dict[str, nn.Module] = {}
    for name, module in block.named_modules():
        if not is_linear(module) or id(module.weight) in seen:
            continue
        parts = [part for part in (prefix, name, "weight") if part]
        full, weight = ".".join(parts), module._parameters["weight"]
        if weight is not None and (where is None or where(full, weight)):
            seen.add(id(weight))
            found[full] = module
    return found


def check_same_weights(layers: Mapping[str, nn.Module], group: Any) -> None:
    """Raise RuntimeError on all ranks of a process group where weights differ between them."""
    check_same_on_ranks(
        "prune_blocks",
        {name: layer.get_parameter("weight") for name, layer in layers.items()},
        group=group,
        what="pruned weights",
        expected="the same model on every rank, on processors of one kind",
    )


@torch.no_grad()
def prune_layers(
    layers: Mapping[str, nn.Module], moments: dict[str, InputMoments], request: Request
) -> list[PrunedLayer]:
    """Write zeros, and what the method makes of the other weights; `moments` is used up.

    Raises
    ------
    ValueError
        A layer got no input; a weight or an input that is not finite.
    """
    if request.calibrates:
        for name in layers:
            if name not in moments or not moments[name].count:
                msg = (
                    f"prune_blocks: {name!r} got no input from the calibration batches; give more "
                    "of them, or leave it out by where="
                )
                raise ValueError(msg)
    for name, module in layers.items():  # of all, before the first is written
        weight: Tensor = module.weight  # type: ignore[assignment]
        checked_scores(weight, name=f"prune_blocks: {name}", origin=weight)
    return [
        _prune_layer(name, module, moments.pop(name, None), request)
        for name, module in layers.items()
    ]


def _prune_layer(
    name: str, module: nn.Module, moments: InputMoments | None, request: Request
) -> PrunedLayer:
    stored: Tensor = module.weight  # type: ignore[assignment]
    weight = stored.detach().T if is_transposed(module) else stored.detach()
    mask, new = _METHODS[request.method](name, weight, moments, request)
    weight.copy_(new)
    return PrunedLayer(name, (stored.shape[0], stored.shape[1]), int(mask.sum()))


def _by_sparsegpt(
    name: str, weight: Tensor, moments: Any, request: Request
) -> tuple[Tensor, Tensor]:
    masks, new = sparsegpt(
        {name: weight},
        hessians={name: hessian(moments)},
        sparsity=request.sparsity,
        pattern=request.pattern,
        block=request.columns,
        damping=request.damping,
    )
    return masks[name], new[name]


def _by_wanda(name: str, weight: Tensor, moments: Any, request: Request) -> tuple[Tensor, Tensor]:
    scores = wanda({name: weight}, norms={name: norms(moments)})[name]
    checked_scores(scores, name=f"prune_blocks: wanda scores of {name}", origin=weight)
    if isinstance(request.pattern, NM):
        fixed = request.pattern.fixed_count(tuple(weight.shape))
        mask = prune_mask(scores, fixed, request.pattern)
    else:
        mask = best_of_rows(scores, request.sparsity)
    return mask, weight.masked_fill(~mask, 0)


def _by_magnitude(name: str, weight: Tensor, _: Any, request: Request) -> tuple[Tensor, Tensor]:
    scores = checked_scores(
        magnitude({name: weight})[name], name=f"prune_blocks: {name}", origin=weight
    )
    fixed = request.pattern.fixed_count(tuple(weight.shape))
    kept = weight.numel() - round(request.sparsity * weight.numel()) if fixed is None else fixed
    mask = prune_mask(scores, kept, request.pattern)
    return mask, weight.masked_fill(~mask, 0)


_METHODS: dict[str, Callable[[str, Tensor, Any, Request], tuple[Tensor, Tensor]]] = {
    "sparsegpt": _by_sparsegpt,
    "wanda": _by_wanda,
    "magnitude": _by_magnitude,
}


def best_of_rows(scores: Tensor, sparsity: float) -> Tensor:
    """Return the mask that keeps the same share of each row.

    Parameters
    ----------
    scores : Tensor, shape (r, c)
        No NaN.
    sparsity : float

    Returns
    -------
    Tensor of bool, shape (r, c)
        ``r c - round(sparsity r c)`` are True; earlier rows keep one more where that is no multiple
        of r. Ties keep the lowest column.

    Examples
    --------
    >>> best_of_rows(torch.tensor([[1.0, 2.0, 3.0], [6.0, 5.0, 4.0]]), 0.5).int().tolist()
    [[0, 1, 1], [1, 0, 0]]
    """
    size = scores.numel()
    if not size:
        return full_mask(scores, kept=True)  # type: ignore[no-any-return]
    least, richer = divmod(size - round(sparsity * size), len(scores))
    parts = ((scores[:richer], least + 1), (scores[richer:], least))
    return torch.cat([top_of_rows(rows, kept) for rows, kept in parts if len(rows)])
