"""How long each layer of a model takes, by how sparse it is: measured before anything is pruned."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from sparsecore.nn.candidates import build, measure
from sparsecore.nn.choose import Layer, survey
from sparsecore.nn.example import Example
from sparsecore.nn.fuse import fuse_where_equal
from sparsecore.nn.latency_table import LatencyTable, LayerTimes
from sparsecore.nn.layers import Dense, find_layers, observe
from sparsecore.nn.place import elapsed_of_place
from sparsecore.nn.sparsify import LAYER_TIMER
from sparsecore.nn.sparsify_arguments import check_initialized
from sparsecore.nn.thread_count import using_threads
from sparsecore.pruning.allocation import checked_sparsity
from sparsecore.pruning.patterns import prune_mask
from sparsecore.timing import Timer

__all__ = ["SPARSITIES", "measure_layers"]

SPARSITIES = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98)


def measure_layers(
    model: nn.Module,
    example_inputs: Any,
    sparsities: Sequence[float] = SPARSITIES,
    *,
    trainable: bool = False,
    channels_last: bool = False,
    threads: int | None = None,
    timer: Timer | None = None,
) -> LatencyTable:
    """Measure each layer dense, and as CSR at several sparsities, on the shapes it really sees.

    What ``sparsify_`` would measure if the layer were so sparse. The entries that stay are the
    largest of the layer's weight: the pattern that pruning it by magnitude leaves. Layers are
    measured each alone: the times of a model's layers add up to less than the model's, which does
    other things, too. The model is not changed.

    Parameters
    ----------
    model : torch.nn.Module
        On the CPU or on one CUDA device; pruned or not.
    example_inputs : tensor, tuple or dict
        As for ``sparsify_``: the batch size decides what sparsity gains.
    sparsities : sequence of float
        In [0, 1). Between them ``allocation.latency`` interpolates, below the largest number of
        zeros it does not go: let them reach from where dense is faster to the sparsest wanted.
    trainable, channels_last : bool
        As for ``sparsify_``, but for the default: how the layers are to run, fused with what
        follows them and prepared, or not.
    threads : int, optional
        Threads to measure with, for torch and sparsecore.
    timer : callable, optional
        Measures a mapping of callables; `sparsecore.timing.interleaved` if not given.

    Returns
    -------
    LatencyTable
        ``table.times()`` is what ``sparsecore.pruning.allocation.latency`` takes. A layer that
        cannot run sparse is in ``table.skipped``, with the reason.

    Raises
    ------
    ValueError
        A sparsity is outside [0, 1), or there is none; or the model has lazy modules that never
        ran, or lies on several devices.
    TypeError
        If `example_inputs` is not a tensor, tuple or dict.

    Examples
    --------
    >>> import torch
    >>> from sparsecore import pruning
    >>> model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 10))
    >>> table = measure_layers(model, torch.rand(8, 64), sparsities=(0.5, 0.9))
    >>> [(layer.name, [count for count, _ in layer.csr]) for layer in table.layers]
    [('0', [410, 2048]), ('1', [64, 320])]
    >>> scores = pruning.scores.lamp({n: p for n, p in model.named_parameters() if p.ndim > 1})
    >>> kept = pruning.allocation.latency(scores, table.times(), table.dense_seconds)
    >>> pruning.allocation.predicted_seconds(table.times(), kept) <= 1.001 * table.dense_seconds
    True
    """
    wanted = sorted({checked_sparsity(s, caller="measure_layers") for s in sparsities})
    if not wanted:
        msg = "measure_layers: sparsities is empty, expected at least one fraction in [0, 1)"
        raise ValueError(msg)
    example = Example.of(example_inputs, caller="measure_layers")
    check_initialized(model, caller="measure_layers")
    if timer is None:
        timer = partial(LAYER_TIMER, elapsed=elapsed_of_place(model, caller="measure_layers"))
    with (
        using_threads(threads, name="measure_layers: threads"),
        torch.inference_mode(False),
        torch.no_grad(),
        _fused(model, example, wished=not trainable, channels_last=channels_last),
    ):
        sites = find_layers(model)
        uses = observe(sites, partial(example.output, model))
        layers = [survey(site, uses.get(site.name)) for site in sites]
        measured = tuple(
            _times(layer, wanted, timer, prepared=not trainable)
            for layer in layers
            if layer.obstacle is None
        )
    skipped = {layer.site.name: layer.obstacle for layer in layers if layer.obstacle is not None}
    return LatencyTable(measured, skipped)


@contextmanager
def _fused(
    model: nn.Module, example: Example, *, wished: bool, channels_last: bool
) -> Iterator[None]:
    """Let the model be fused meanwhile, as a converted one would be."""
    if not wished:
        yield
        return
    fusion, _ = fuse_where_equal(model, example, example.output(model))
    fusion.order_images(channels_last=channels_last)
    try:
        yield
    finally:
        fusion.put(fused=False)


def _times(
    layer: Layer, sparsities: Sequence[float], timer: Timer, *, prepared: bool
) -> LayerTimes:
    """Measure a layer in all its forms against each other."""
    dense = layer.site.dense
    size = dense.weight.numel()
    counts = sorted({size - round(sparsity * size) for sparsity in sparsities})
    modules: dict[str, nn.Module] = {"dense": dense}
    for count in counts:
        site = replace(layer.site, dense=_pruned(dense, count))
        modules[f"csr {count}"] = build(site, layer.calls, "csr", prepared=prepared)
    seconds: Mapping[str, float] = measure(modules, layer.calls, timer)
    csr = tuple((count, seconds[f"csr {count}"]) for count in counts)
    return LayerTimes(layer.site.name, size, seconds["dense"], csr)


def _pruned(dense: Dense, kept: int) -> Dense:
    """Return a copy that has exactly `kept` nonzeros, where the weight is largest."""
    weight = dense.weight.detach()
    mask = prune_mask(weight.abs(), kept)
    # Of a weight that has fewer nonzeros, zeros stay, too, and have to be something.
    values = weight.masked_fill(weight == 0, 1.0).masked_fill(~mask, 0.0)
    pruned = copy.copy(dense)
    pruned._parameters = {**dense._parameters, "weight": nn.Parameter(values)}
    return pruned
