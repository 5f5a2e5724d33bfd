"""Taylor: the square of what removing a weight, or a filter, does to the loss, to first order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sparsecore.pruning._numbers import integer

if TYPE_CHECKING:
    from torch import Tensor, nn

    from sparsecore.pruning.scores._model_runs import Loss, Run

__all__ = ["taylor"]


def taylor(
    weights: Mapping[str, Tensor],
    *,
    model: nn.Module,
    batches: Iterable[Any],
    loss: Loss | None = None,
    axis: int | None = None,
    training: bool = False,
    group: Any = None,
) -> dict[str, Tensor]:
    """Score by the squared first-order change of the loss, meant over batches.

    ``s = mean_b (g_b * w)^2`` with g_b the gradient of batch b's mean loss, batches weighted by
    their numbers of samples. Of whole slices along `axis`, S being one:
    ``s_S = mean_b (sum over S of g_b * w)^2``, which the weights of the slice share evenly: a
    slice's scores add up to it, and so patterns of whole filters and channels add them.

    Parameters
    ----------
    weights : mapping of str to Tensor
        Parameters of `model` by name; the model is run on these.
    model : torch.nn.Module
        A trained one. It is left as it was, with its modes, buffers, gradients.
    batches : iterable of (inputs, targets)
        Their sizes are part of the definition: the gradient of all data vanishes where training has
        converged, those of batches do not. Inputs: a tensor, a tuple of arguments or a mapping of
        keywords.
    loss : callable, optional
        ``loss(outputs, targets)``, a mean over samples. Cross entropy.
    axis : int, optional
        0 scores filters (outputs), 1 channels (inputs); None scores weights, of which a filter's
        sum is the paper's other form, the sum of squares.
    training : bool
        The mode of all modules.
    group : torch.distributed.ProcessGroup, optional
        Each of its ranks, such as ``dist.group.WORLD``, gives batches of its own, and gets what one
        process gives for the batches of all, to rounding. Without it no other rank is asked.

    Returns
    -------
    dict of str to Tensor
        At least 0. dtype of the weights, float32 for halves.

    Raises
    ------
    TypeError, ValueError
        A weight without the axis, or an axis that is no integer; else as `snip`.

    References
    ----------
    Molchanov et al., "Importance Estimation for Neural Network Pruning", CVPR 2019
    (arXiv:1906.10771), section 3.

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Linear(2, 1, bias=False)
    >>> weights = {"weight": torch.tensor([[3.0, -1.0]])}
    >>> batch = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0]])
    >>> l1_loss = torch.nn.functional.l1_loss
    >>> taylor(weights, model=model, batches=[batch], loss=l1_loss)
    {'weight': tensor([[9., 4.]])}
    >>> taylor(weights, model=model, batches=[batch], loss=l1_loss, axis=0)  # (3 - 2)^2 in all
    {'weight': tensor([[0.5000, 0.5000]])}
    """
    from sparsecore.pruning.scores import _model_runs as runs

    with runs.opened("taylor", model, weights, training=training) as run:
        _check_axis(weights, axis)
        terms = _squares(run, batches, loss, axis)
        return runs.mean_of_ranks("taylor", terms, group=group)


def _squares(
    run: Run, batches: Iterable[Any], loss: Loss | None, axis: int | None
) -> Iterator[tuple[int, dict[str, Tensor]]]:
    from sparsecore.pruning.scores import _model_runs as runs

    for samples, value in runs.losses(run, batches, loss):
        gradient = runs.gradients(run, value)
        changes = {name: g * run.weights[name].detach() for name, g in gradient.items()}
        yield samples, {name: _square(change, axis) for name, change in changes.items()}


def _square(change: Tensor, axis: int | None) -> Tensor:
    if axis is None:
        return change.square()
    others = [a for a in range(change.ndim) if a != axis % change.ndim]
    if not others:
        return change.square()
    whole = change.sum(others, keepdim=True).square()
    return (whole / (change.numel() / whole.numel())).expand_as(change).contiguous()


def _check_axis(weights: Mapping[str, Tensor], axis: int | None) -> None:
    if axis is None:
        return
    integer(axis, name="taylor: axis", what="an integer or None")
    for name, weight in weights.items():
        if not -weight.ndim <= axis < weight.ndim:
            msg = f"taylor: axis is {axis}, which {name!r} of shape {tuple(weight.shape)} lacks"
            raise ValueError(msg)
