"""SNIP: what the loss feels of a weight, before training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

    from sparsecore.pruning.scores._model_runs import Loss

__all__ = ["snip"]


def snip(
    weights: Mapping[str, Tensor],
    *,
    model: nn.Module,
    batches: Iterable[Any],
    loss: Loss | None = None,
    training: bool = True,
    group: Any = None,
) -> dict[str, Tensor]:
    """Score each weight by the absolute derivative of the loss by a factor on it.

    ``s = abs(g * w) / sum(abs(g * w))`` with g the gradient of the mean loss over all samples; the
    sum is over all weights that are given. The absolute value is taken after the mean.

    Parameters
    ----------
    weights : mapping of str to Tensor
        Parameters of `model` by name; the model is run on these. Biases are better left out.
    model : torch.nn.Module
        Newly initialised, with variances that keep signals at one scale (He, Glorot): the score
        takes weights at their scale. It is left as it was, with its modes, buffers, gradients.
    batches : iterable of (inputs, targets)
        The paper takes one batch, of 100 for MNIST and 128 for CIFAR-10. Inputs: a tensor, a tuple
        of arguments or a mapping of keywords.
    loss : callable, optional
        ``loss(outputs, targets)``, a mean over samples. Cross entropy.
    training : bool
        The mode of all modules: at initialisation BatchNorm has no statistics but a batch's.
    group : torch.distributed.ProcessGroup, optional
        Each of its ranks, such as ``dist.group.WORLD``, gives batches of its own, and gets what one
        process gives for the batches of all, to rounding. Without it no other rank is asked.
        Sharded weights (``fully_shard``) always take the ranks of their mesh.

    Returns
    -------
    dict of str to Tensor
        At least 0; together 1, or all 0. dtype of the weights, float32 for halves.

    Raises
    ------
    TypeError, ValueError
        Weights that are not the model's, batches that are no pairs or none, a loss that is no
        scalar with a gradient.

    References
    ----------
    Lee et al., "SNIP: Single-shot Network Pruning based on Connection Sensitivity", ICLR 2019
    (arXiv:1810.02340), section 4.

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Linear(2, 1, bias=False)
    >>> weights = {"weight": torch.tensor([[3.0, -1.0]])}
    >>> batch = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0]])
    >>> snip(weights, model=model, batches=[batch], loss=torch.nn.functional.l1_loss)
    {'weight': tensor([[0.6000, 0.4000]])}
    """
    from sparsecore.pruning.scores import _model_runs as runs
    from sparsecore.pruning.wrapped_models import any_sharded

    if any_sharded(weights):
        from sparsecore.pruning.scores import _sharded_runs as sharded_runs

        return _normalised(
            weights,
            sharded_runs.mean_gradient("snip", model, weights, batches, loss, training=training),
        )
    with runs.opened("snip", model, weights, training=training) as run:
        gradient = runs.mean_gradient(run, batches, loss, group=group)
    return _normalised(weights, gradient)


def _normalised(weights: Mapping[str, Tensor], gradient: Mapping[str, Tensor]) -> dict[str, Tensor]:
    felt = {name: (g * weights[name].detach()).abs() for name, g in gradient.items()}
    total = sum(_total(s) for s in felt.values())
    return {name: s / total if total else s for name, s in felt.items()}


def _total(felt: Tensor) -> float:
    from sparsecore.pruning.wrapped_models import is_sharded

    total: Any = felt.double().sum()
    return float(total.full_tensor() if is_sharded(total) else total)
