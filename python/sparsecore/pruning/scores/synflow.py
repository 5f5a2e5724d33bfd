"""SynFlow: how much of all paths from inputs to outputs goes through a weight, without data."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

    from sparsecore.pruning.scores._batches import Batch
    from sparsecore.pruning.scores._model_runs import Loss, Run

__all__ = ["synflow"]


def synflow(
    weights: Mapping[str, Tensor],
    *,
    model: nn.Module,
    batches: Iterable[Any],
    loss: Loss | None = None,  # noqa: ARG001 - what all scores of a model are called with
) -> dict[str, Tensor]:
    """Score each weight by the products of absolute weights along all paths through it.

    ``s = abs(w) * dR/dabs(w)``, R being the sum of the model's outputs for one input of ones, with
    the absolute values of all parameters, in float64, in eval mode. In a chain of linear layers
    without biases, with ReLU or pooling between them, R is the sum over all paths, and each layer's
    scores add up to R.

    That conservation keeps layers from collapsing only if pruning goes by small steps: with one
    threshold over all layers, pruned anew a hundred times, ``schedule=Iterative(100,
    "exponential")`` and ``allocation=global_`` of ``prune``. In one step layers with many weights
    are pruned away whole.

    Parameters
    ----------
    weights : mapping of str to Tensor
        Parameters of `model` by name; the model is run on these, so pruned ones, being zero, score
        0 and close their paths.
    model : torch.nn.Module
        Newly initialised. Biases and offsets of BatchNorm are paths of their own; statistics of a
        trained BatchNorm are taken as they are. Outputs are logits, as softmax adds up to one
        whatever the weights; activations are to leave positive numbers alone, as ReLU does. It is
        left as it was, with its modes, buffers, gradients.
    batches : iterable
        Only the first is looked at, for the shape and device of a sample; pairs (inputs, targets),
        tensors or mappings of keywords. All floating-point inputs become ones.
    loss : callable, optional
        Not used.

    Returns
    -------
    dict of str to Tensor
        float64, at least 0.

    Raises
    ------
    TypeError
        The model does not return a tensor.
    ValueError
        No input is of floating point (feed embeddings in the place of token numbers), or R is not
        finite in float64; else as `snip`.

    References
    ----------
    Tanaka et al., "Pruning neural networks without any data by iteratively conserving synaptic
    flow", NeurIPS 2020 (arXiv:2006.05467), algorithm 1.

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Linear(2, 1, bias=False)
    >>> weights = {"weight": torch.tensor([[3.0, -1.0]])}
    >>> synflow(weights, model=model, batches=[torch.zeros(1, 2)])
    {'weight': tensor([[3., 1.]], dtype=torch.float64)}
    """
    from sparsecore.pruning.scores import _model_runs as runs
    from sparsecore.pruning.scores._batches import read_inputs

    with runs.opened("synflow", model, weights, training=False) as run:
        ones = _ones(next(iter(read_inputs("synflow", batches))))
        positive = _positive(run)
        gradient = runs.gradients(positive, _flow(positive, ones))
        return {name: g * positive.weights[name].detach() for name, g in gradient.items()}


def _positive(run: Run) -> Run:
    """Return the run with absolute parameters, and buffers as they are, in float64."""
    weights = {n: w.detach().double().abs().requires_grad_() for n, w in run.weights.items()}
    buffers = {name for name, _ in run.model.named_buffers()}
    state = {
        name: (value if name in buffers else value.abs()).double()
        if value.is_floating_point()
        else value
        for name, value in run.state.items()
    }
    return dataclasses.replace(run, weights=weights, state=state)


def _ones(batch: Batch) -> Batch:
    """Return one sample of ones in the place of the batch's floating-point inputs."""
    import torch

    sample = next(batch.samples_of())
    found = False

    def one(value: Any) -> Any:
        nonlocal found
        if isinstance(value, tuple | list):
            return tuple(map(one, value))
        if isinstance(value, Mapping):
            return {name: one(part) for name, part in value.items()}
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            return value
        found = True
        return torch.ones_like(value, dtype=torch.float64)

    args = tuple(one(value) for value in sample.args)
    kwargs = {name: one(value) for name, value in sample.kwargs.items()}
    if not found:
        msg = (
            "synflow: no input is a floating-point tensor that could become ones; for token "
            "numbers, give the model's embeddings of them as inputs"
        )
        raise ValueError(msg)
    return dataclasses.replace(sample, args=args, kwargs=kwargs)


def _flow(run: Run, batch: Batch) -> Tensor:
    import torch

    outputs = run(batch)
    if not isinstance(outputs, torch.Tensor):
        msg = f"synflow: the model returns {type(outputs).__name__}, expected a tensor"
        raise TypeError(msg)
    flow = outputs.sum()
    if not bool(flow.isfinite()):
        msg = f"synflow: the sum over all paths is {flow.item()}, expected a finite float64"
        raise ValueError(msg)
    return flow
