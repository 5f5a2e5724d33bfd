"""The score of a filter, of a channel, and which channels are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparsecore.nn.taint import Layer
from sparsecore.pruning._arrays import checked_scores, top_of_rows
from sparsecore.pruning.model_masks import Score
from sparsecore.pruning.structured.channel_groups import ChannelGroup

__all__ = ["channel_scores", "filter_scores", "kept_channels", "scores_of"]


def scores_of(caller: str, score: Score, weights: Mapping[str, Tensor]) -> Mapping[str, Any]:
    """Return what a score gives; TypeError where it is no function, or gives no mapping."""
    if not callable(score):
        msg = f"{caller}: score is {score!r}, expected a function such as scores.magnitude"
        raise TypeError(msg)
    found = score(weights)
    if not isinstance(found, Mapping):
        msg = f"{caller}: score returned {type(found).__name__}, expected scores by name"
        raise TypeError(msg)
    return found


def filter_scores(caller: str, layers: Mapping[str, Layer], score: Score) -> dict[Layer, Tensor]:
    """Score the filters of layers: a score of weights is summed over each filter, in float64.

    Parameters
    ----------
    layers : mapping of str to layer
        By the names of their weights.
    score : callable
        Of the weights by name. It gives arrays of the weights' shapes, or one score a filter.

    Returns
    -------
    dict of layer to float64 tensor (out,)

    Raises
    ------
    ValueError
        A score is missing, NaN, or of another shape.
    """
    scores = scores_of(caller, score, {name: layer.weight for name, layer in layers.items()})
    found: dict[Layer, Tensor] = {}
    for name, layer in layers.items():
        weight = layer.weight
        shape = tuple(scores[name].shape) if name in scores else None
        axis = 1 if getattr(layer, "transposed", False) else 0
        of_filters = (weight.shape[axis],)
        if shape not in {tuple(weight.shape), of_filters}:
            msg = (
                f"{caller}: score: {name} got scores of shape {shape}, expected "
                f"{tuple(weight.shape)}, or {of_filters} for its filters"
            )
            raise ValueError(msg)
        one = checked_scores(scores[name], name=f"{caller}: score of {name}", origin=weight)
        one = one.double()
        if shape != of_filters:
            one = one.movedim(axis, 0).flatten(1).sum(1)
        # A sum of infinities of both signs.
        found[layer] = checked_scores(one, name=f"{caller}: score of the filters of {name}")
    return found


def channel_scores(
    group: ChannelGroup, filters: Mapping[Layer, Tensor], leaders: Sequence[Layer] = ()
) -> Tensor:
    """Sum the scores of the filters that give each channel.

    Parameters
    ----------
    filters : mapping of layer to tensor (out,)
    leaders : sequence of layer
        The layers that decide for the group; all, where none of them is in it.

    Returns
    -------
    float64 tensor (channels,), on the CPU
    """
    deciding = [layer for layer in group.layers if layer in leaders] or list(group.layers)
    scores = {layer: filters[layer].tolist() for layer in deciding}
    sums = [
        sum(scores[m][i] for m in deciding for i in sorted(channel.given.get(m, ())))
        for channel in group.channels
    ]
    return torch.tensor(sums, dtype=torch.float64)


def kept_channels(group: ChannelGroup, scores: Tensor, kept: int) -> list[int]:
    """Return the positions of the best channels, as many of each class, ties to the lowest.

    Parameters
    ----------
    scores : float64 tensor (channels,)
    kept : int
        A multiple of ``group.class_count``.
    """
    order = np.argsort(np.array(group.classes), kind="stable")
    table = torch.from_numpy(order.reshape(group.class_count, -1))
    mask = top_of_rows(scores[table], kept // group.class_count)
    positions: list[int] = table[mask].sort().values.tolist()
    return positions
