"""Filters are ranked, and the lowest removed with all that depends on them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import nn

from sparsecore.nn.cutting import check_max_error
from sparsecore.nn.dependencies import import_torch_pruning
from sparsecore.nn.example import Example
from sparsecore.pruning.model_masks import Score, Where
from sparsecore.pruning.scores import magnitude
from sparsecore.pruning.structured.filter_removal import remove_filters
from sparsecore.pruning.structured.filter_report import FilterReport
from sparsecore.pruning.structured.filter_requests import Request, requested
from sparsecore.pruning.structured.filter_scores import (
    channel_scores,
    filter_scores,
    kept_channels,
)

__all__ = ["prune_filters_"]

_CALLER = "prune_filters_"


def prune_filters_(
    model: nn.Module,
    example_inputs: Any,
    sparsity: float | Mapping[str, float] | None = None,
    *,
    kept: Mapping[str, int] | None = None,
    score: Score = magnitude,
    where: Where | None = None,
    leaders: Collection[str] = (),
    remove: bool = True,
    max_error: float | None = None,
) -> FilterReport:
    """Remove the filters of least score, with all that depends on them, in place.

    A filter goes with its bias, its channel of the normalisations and depthwise convolutions that
    follow, and the inputs of the layers that read it. It is masked first, that is, all that gives
    its channel is set to zero; then the channels are taken out as by `sparsecore.nn.shrink_`, and
    the outputs compared: in evaluation mode the smaller model computes what the masked one does.

    Layers that a residual sum ties lose the same filters. A channel's score is then the sum over
    the filters that give it, or over those of the `leaders` alone: Li et al. let the shortcut's
    convolution decide for the sum. Where a convolution has groups, each loses as many channels, and
    keeps its best.

    Parameters
    ----------
    model : torch.nn.Module
        Its training modes, buffers, ``requires_grad`` and torch's random state are afterwards as
        before. Layers that lost something have new Parameters: make the optimizer afterwards.
    example_inputs : tensor, tuple or dict
        What the model is called with: one argument, several, or keyword arguments. Never edited.
    sparsity : float or mapping of str to float
        The share of its filters that each layer loses, in [0, 1), or of some layers, by their names
        in ``model.named_modules()``. A layer of n filters keeps ``n - round(sparsity * n)``; where
        groups need a multiple, the nearest one, ties to the larger; always one.
    kept : mapping of str to int
        In the place of `sparsity`: how many filters layers keep.
    score : callable
        Of the weights by name, as in `prune`; higher means keep. Scores of weights are summed over
        each filter, so that ``scores.magnitude`` gives its L1 norm. It may give one score a filter,
        too. Ties keep the lower index.
    where : callable, optional
        ``where(name, weight)`` says which layers lose filters, as in `prune`: sensitive layers are
        left out by it. Layers that are tied are pruned where it says so of all of them. It may
        select linear layers, which lose hidden units. If not given, all convolutions, and what is
        tied to them.
    leaders : collection of str
        Names of layers that decide alone for the layers that they are tied to.
    remove : bool
        Whether channels are taken out; if not, they are masked only.
    max_error : float, optional
        The largest difference of the outputs that is allowed, as in `shrink_`.

    Returns
    -------
    FilterReport
        ``print(report)`` shows a table. ``whole`` says of layers that kept all filters why.

    Raises
    ------
    ImportError
        If torch-pruning is not installed (extra ``structured``).
    ValueError
        If arguments contradict each other or the model; if a layer that was named cannot lose
        filters; if the model has sparse layers or no values, cannot be traced, or acts on values in
        Python; if a score is NaN. The model has not changed then.
    TypeError
        If an argument is of another kind: `example_inputs` no tensor, tuple or dict, `kept` no
        mapping of integers, a name in the place of a function.

    References
    ----------
    Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017, section 3; Fang et al.,
    "DepGraph: Towards Any Structural Pruning", CVPR 2023 (which filters go together).

    Examples
    --------
    >>> import torch
    >>> net = torch.nn
    >>> model = net.Sequential(net.Conv2d(3, 8, 3), net.BatchNorm2d(8), net.Conv2d(8, 4, 3))
    >>> report = prune_filters_(model, torch.rand(2, 3, 8, 8), 0.25)
    >>> model[0].out_channels, model[1].num_features, model[2].in_channels
    (6, 6, 6)
    >>> report.whole
    {'2': "the model's output has it"}
    """
    example = Example.of(example_inputs, caller=_CALLER)
    check_max_error(_CALLER, max_error)
    import_torch_pruning(_CALLER)
    with torch.inference_mode(False), torch.no_grad():
        request = requested(_CALLER, model, example, sparsity=sparsity, kept=kept, where=where)
        chosen = _choose(request, score, leaders)
        return remove_filters(
            _CALLER, model, example, request, chosen, remove=remove, max_error=max_error
        )


def _choose(request: Request, score: Score, leaders: Collection[str]) -> list[list[int]]:
    """Return the positions of the channels that each group keeps."""
    if isinstance(leaders, str) or not isinstance(leaders, Collection):
        msg = f"{_CALLER}: leaders is {leaders!r}, expected a collection of layer names"
        raise TypeError(msg)
    layers = {request.names[m]: m for group, _ in request.counts for m in group.layers}
    unknown = [name for name in leaders if name not in layers]
    if unknown:
        msg = f"{_CALLER}: leaders names {unknown[0]!r}, expected layers among {', '.join(layers)}"
        raise ValueError(msg)
    weights = {f"{name}.weight".lstrip("."): layer for name, layer in layers.items()}
    scores = filter_scores(_CALLER, weights, score)
    deciding = [layers[name] for name in leaders]
    return [
        kept_channels(group, channel_scores(group, scores, deciding), count)
        for group, count in request.counts
    ]
