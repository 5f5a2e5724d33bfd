"""ThiNet: the filters go whose channels the next layer's output can be rebuilt without."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sparsecore.nn.cutting import check_max_error, restore, state_of
from sparsecore.nn.dependencies import import_torch_pruning
from sparsecore.nn.example import Example
from sparsecore.pruning._checks import is_iterable
from sparsecore.pruning.generators import seeded_generator
from sparsecore.pruning.model_masks import Where
from sparsecore.pruning.structured.filter_removal import remove_filters
from sparsecore.pruning.structured.filter_report import FilterReport
from sparsecore.pruning.structured.filter_requests import requested
from sparsecore.pruning.structured.thinet_layers import Sampling, rebuild

__all__ = ["thinet_"]

_CALLER = "thinet_"


def thinet_(
    model: nn.Module,
    batches: Iterable[Any],
    sparsity: float | Mapping[str, float] | None = None,
    *,
    kept: Mapping[str, int] | None = None,
    where: Where | None = None,
    samples: int = 10,
    rescale: bool = True,
    generator: torch.Generator | None = None,
    remove: bool = True,
    max_error: float | None = None,
) -> FilterReport:
    """Remove the filters that the layers behind them miss the least, in place.

    Layer by layer, from the input on, as they then are: random outputs of the layers that read a
    layer's channels are taken apart, channel by channel, and those channels are kept, chosen
    greedily, without which the outputs would differ most. What the readers then multiply each by
    is scaled by least squares, so that they give what they gave. Removal is that of
    `prune_filters_`; the network is not trained in between, as the paper does after each layer: for
    that, call it once a layer, with `kept`.

    Layers that a residual sum ties lose the same channels, by the outputs of all their readers. The
    paper leaves them whole; `where` can.

    Parameters
    ----------
    model : torch.nn.Module
        As in `prune_filters_`. Activations should give zero of zero.
    batches : iterable
        Of ``(inputs, targets)``, or of inputs that are a tensor or a dict. The targets are not
        used. Inputs are a tensor, a tuple of arguments, or a dict of keyword arguments. Iterated
        once, and held.
    sparsity, kept, where, remove, max_error
        As in `prune_filters_`; the example is the first batch.
    samples : int
        How many outputs are drawn of each image of a batch and of each layer that reads.
    rescale : bool
        Whether the weights of the layers that read are scaled.
    generator : torch.Generator, optional
        Draws the outputs. Without it one is made, with seed 0.

    Returns
    -------
    FilterReport
        ``reconstruction`` has what the readers of each layer miss of their outputs. The masks
        say what is zero in the masked model, the weights of which are scaled as well.

    Raises
    ------
    ImportError
        If torch-pruning is not installed (extra ``structured``).
    ValueError
        As `prune_filters_`; if there is no batch; if a layer has fewer samples than it keeps
        channels, so that least squares would have no single answer; if contributions are NaN or
        infinite. The model has not changed then.
    TypeError
        If a batch, or another argument, is of another kind.

    References
    ----------
    Luo et al., "ThiNet: A Filter Level Pruning Method for Deep Neural Network Compression",
    ICCV 2017, section 3.2.

    Examples
    --------
    >>> import torch
    >>> net = torch.nn
    >>> model = net.Sequential(net.Conv2d(3, 8, 3), net.ReLU(), net.Conv2d(8, 4, 3))
    >>> report = thinet_(model, [torch.rand(4, 3, 8, 8)], 0.5, where=lambda name, _: name[0] == "0")
    >>> model[0].out_channels, model[2].in_channels, sorted(report.reconstruction)
    (4, 4, ['0'])
    """
    if not is_iterable(batches):
        msg = f"{_CALLER}: batches is {type(batches).__name__}, expected an iterable of batches"
        raise TypeError(msg)
    examples = [_example(batch) for batch in batches]
    if not examples:
        msg = f"{_CALLER}: batches is empty, expected at least one"
        raise ValueError(msg)
    _check_samples(samples)
    check_max_error(_CALLER, max_error)
    import_torch_pruning(_CALLER)
    sampling = Sampling(samples, seeded_generator(_CALLER, generator))
    with torch.inference_mode(False), torch.no_grad():
        request = requested(_CALLER, model, examples[0], sparsity=sparsity, kept=kept, where=where)
        values = [(t, t.clone()) for t in (*model.parameters(), *model.buffers())]
        state = state_of(model)
        try:
            rebuilt = rebuild(
                _CALLER,
                model,
                examples,
                request,
                sampling,
                rescale=rescale,
                remove=remove,
                max_error=max_error,
            )
            report = remove_filters(
                _CALLER,
                model,
                examples[0],
                rebuilt.request,
                rebuilt.kept,
                remove=remove,
                max_error=max_error,
            )
        except BaseException:
            restore(state)
            for tensor, copy in values:
                tensor.copy_(copy)
            raise
    return dataclasses.replace(report, reconstruction=rebuilt.errors)


def _example(batch: object) -> Example:
    if isinstance(batch, Tensor | dict):
        return Example.of(batch, caller=_CALLER)
    if isinstance(batch, tuple | list) and len(batch) == 2:
        return Example.of(batch[0], caller=f"{_CALLER}: inputs of a batch")
    size = f" of {len(batch)}" if isinstance(batch, tuple | list) else ""
    msg = (
        f"{_CALLER}: a batch is a {type(batch).__name__}{size}, expected (inputs, targets), or "
        "inputs that are a tensor or a dict"
    )
    raise TypeError(msg)


def _check_samples(samples: object) -> None:
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        msg = f"{_CALLER}: samples is {samples!r}, expected an integer of at least 1"
        raise ValueError(msg)
