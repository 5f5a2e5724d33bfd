"""Scores of a model under ``fully_shard``: all ranks run it together, each on its own batches.

The model runs on its own parameters, as a stand-in for them would not be gathered. Gradients are
those that its backward reduces to the shards; what they replace is put back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from sparsecore.pruning.dtensors import local_blocks
from sparsecore.pruning.input_moments import InputMoments, observed_moments, split_batch
from sparsecore.pruning.layer_inputs import linear_layers_of, moments_of_ranks, norms_of
from sparsecore.pruning.rank_sums import in_step
from sparsecore.pruning.scores._batches import iterated, read_batches
from sparsecore.pruning.scores._model_runs import Loss, loss_of, running_mean
from sparsecore.pruning.wrapped_models import reshard

__all__ = ["input_norms", "mean_gradient"]


def mean_gradient(
    caller: str,
    model: nn.Module,
    weights: Mapping[str, Any],
    batches: Iterable[Any],
    loss: Loss | None,
    *,
    training: bool,
) -> dict[str, Tensor]:
    """Return the gradient of the mean loss over all samples of all ranks' batches, sharded.

    A batch of each rank is run at a time; its loss is weighted by its samples' share of all.

    Raises
    ------
    ValueError
        A weight that is not the model's own, or frozen; ranks with more batches than others; a
        loss without a gradient.
    TypeError
        As `scores.snip`.
    """
    group = _checked_group(caller, model, weights)
    frozen = [name for name, weight in weights.items() if not weight.requires_grad]
    if frozen:
        msg = f"{caller}: {frozen[0]!r} is frozen, expected weights that get gradients; leave it "
        msg += "out by where="
        raise ValueError(msg)
    with _undisturbed(model, training=training), torch.enable_grad():
        return running_mean(_terms(caller, model, weights, batches, loss, group))[1]


def input_norms(
    caller: str, model: nn.Module, weights: Mapping[str, Any], batches: Iterable[Any]
) -> dict[str, Tensor]:
    """Return the norms of the inputs of linear layers over all ranks' batches, whole on each.

    Raises
    ------
    ValueError
        A weight that is not the model's own, or of no Linear module, or a layer without inputs;
        ranks with more batches than others.
    TypeError
        A batch of another form.
    """
    group = _checked_group(caller, model, weights)
    layers = linear_layers_of(caller, weights, model)
    calls = (split_batch(caller, batch, pairs=True) for batch in iterated(caller, batches))
    with _undisturbed(model, training=False), torch.no_grad():
        moments: dict[str, InputMoments]
        with observed_moments(layers, full=False) as moments:
            for (args, kwargs), _ in in_step(caller, calls, lambda _: 1, group=group):
                model(*args, **kwargs)
    summed = moments_of_ranks(caller, layers, lambda: moments, full=False, group=group)
    return norms_of(caller, layers, summed)


def _checked_group(caller: str, model: nn.Module, weights: Mapping[str, Any]) -> Any:
    reshard(model)
    known = dict(model.named_parameters(remove_duplicate=False))
    for name, weight in weights.items():
        if known.get(name) is not weight:
            msg = (
                f"{caller}: {name!r} is sharded, and not the model's own parameter of that name; "
                "a sharded model is run on its own weights alone (so prune in one round, or by a "
                "Pruner, which writes the zeros of each)"
            )
            raise ValueError(msg)
    return local_blocks(weights)[1]


def _terms(
    caller: str,
    model: nn.Module,
    weights: Mapping[str, Any],
    batches: Iterable[Any],
    loss: Loss | None,
    group: Any,
) -> Iterator[tuple[int, dict[str, Tensor]]]:
    ranks = dist.get_world_size(group)
    read = read_batches(caller, batches)
    for batch, samples in in_step(caller, read, lambda batch: batch.samples, group=group):
        outputs = model(*batch.args, **dict(batch.kwargs))
        # The backward takes the mean over ranks.
        share = ranks * batch.samples / samples
        torch.autograd.backward(loss_of(caller, outputs, batch.targets, loss) * share)
        gradients = {
            name: torch.zeros_like(weight) if weight.grad is None else weight.grad.detach()
            for name, weight in weights.items()
        }
        for parameter in model.parameters():
            parameter.grad = None
        yield samples, gradients


@contextlib.contextmanager
def _undisturbed(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Run in one mode; gradients, buffers, modes and the random state come back."""
    modes = [(module, module.training) for module in model.modules()]
    parameters = list(model.parameters())
    gradients = [parameter.grad for parameter in parameters]
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    cuda = sorted({p.device.index for p in parameters if p.is_cuda})
    try:
        for parameter in parameters:
            parameter.grad = None
        for module, _ in modes:
            module.training = training
        with torch.random.fork_rng(devices=cuda):
            yield
    finally:
        reshard(model)
        for module, mode in modes:
            module.training = mode
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
