"""Optimal brain damage: the second-order change of the loss, by the Hessian's diagonal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sparsecore.pruning._numbers import integer

if TYPE_CHECKING:
    from torch import Tensor, nn

    from sparsecore.pruning.scores._model_runs import Loss, Run

__all__ = ["obd"]

# Backward passes that are some seconds for a small net.
_LIMIT = 10_000


def obd(
    weights: Mapping[str, Tensor],
    *,
    model: nn.Module,
    batches: Iterable[Any],
    loss: Loss | None = None,
    exact: bool = False,
    clip: bool = False,
    limit: int = _LIMIT,
    group: Any = None,
) -> dict[str, Tensor]:
    """Score each weight by the curvature of the loss along it, times its square.

    ``s = abs(h) * w^2``, h being the weight's entry of the diagonal of the Hessian of the mean loss
    over all samples. (The factor 1/2 of the paper changes no ranking.)

    - By default h is the empirical Fisher information, ``E[g^2]``: the mean of squared gradients,
      each of a single sample with its own target; for likelihoods it approximates the Hessian near
      a fitted optimum. It takes a forward and a backward pass for each sample.
    - ``exact=True``: the Hessian itself, column by column. The gradient of each batch is
      differentiated again once for each weight, a Hessian-vector product with a unit vector.

    Parameters
    ----------
    weights : mapping of str to Tensor
        Parameters of `model` by name; the model is run on these.
    model : torch.nn.Module
        A trained one: the derivation takes the first-order change as zero. It is run in eval mode
        and left as it was, with its modes, buffers, gradients.
    batches : iterable of (inputs, targets)
        Some hundred samples. Inputs: a tensor, a tuple of arguments or a mapping of keywords; of
        the Fisher information all tensors with the samples' axis first are taken apart.
    loss : callable, optional
        ``loss(outputs, targets)``, a mean over samples. Cross entropy.
    exact : bool
        The Hessian in the place of the Fisher information.
    clip : bool
        ``max(h, 0)`` in the place of ``abs(h)``: where the curvature is negative, removing the
        weight lowers the loss to second order, so it scores 0. The Fisher information has none.
    limit : int
        Most weights, of all layers together, that ``exact=True`` is done for.
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
        Too many weights for ``exact=True``, or a limit that is no integer; else as `snip`.

    References
    ----------
    LeCun, Denker and Solla, "Optimal Brain Damage", NeurIPS 1989, section 2. Fisher information:
    Theis et al., "Faster gaze prediction with dense networks and Fisher pruning", arXiv:1801.05787,
    section 2.

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Linear(2, 1, bias=False)
    >>> weights = {"weight": torch.tensor([[3.0, -1.0]])}
    >>> batch = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0]])
    >>> mse = torch.nn.functional.mse_loss  # (3 * 1 - 1 * 2)^2; its Hessian's diagonal is 2 x^2
    >>> obd(weights, model=model, batches=[batch], loss=mse, exact=True)
    {'weight': tensor([[18.,  8.]])}
    >>> obd(weights, model=model, batches=[batch], loss=mse)
    {'weight': tensor([[36., 16.]])}
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel

    from sparsecore.pruning.scores import _model_runs as runs

    # Attention's fused kernels have no second derivative.
    with sdpa_kernel(SDPBackend.MATH), runs.opened("obd", model, weights, training=False) as run:
        if exact:
            _check_size(weights, limit)
        terms = _diagonals(run, batches, loss) if exact else _squares(run, batches, loss)
        curvature = runs.mean_of_ranks("obd", terms, group=group)
    shaped = {name: h.clamp(min=0) if clip else h.abs() for name, h in curvature.items()}
    return {name: h * weights[name].detach().to(h.dtype).square() for name, h in shaped.items()}


def _squares(
    run: Run, batches: Iterable[Any], loss: Loss | None
) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Yield the squared gradients of each sample."""
    from sparsecore.pruning.scores import _model_runs as runs

    for samples, value in runs.losses(run, batches, loss, singly=True):
        gradient = runs.gradients(run, value)
        yield samples, {name: g.square() for name, g in gradient.items()}


def _diagonals(
    run: Run, batches: Iterable[Any], loss: Loss | None
) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Yield the diagonal of the Hessian of each batch's loss."""
    from sparsecore.pruning.scores import _model_runs as runs

    for samples, value in runs.losses(run, batches, loss):
        gradient = runs.gradients(run, value, create_graph=True)
        yield samples, {name: _diagonal(g, run.weights[name]) for name, g in gradient.items()}


def _diagonal(gradient: Tensor, weight: Tensor) -> Tensor:
    import torch

    diagonal = torch.zeros(weight.numel(), dtype=weight.dtype, device=weight.device)
    if not gradient.requires_grad:  # the loss is linear in the weight
        return diagonal.reshape(weight.shape)
    unit = torch.zeros_like(gradient, memory_format=torch.contiguous_format)
    for i in range(len(diagonal)):
        unit.view(-1)[i] = 1
        (row,) = torch.autograd.grad(
            gradient, weight, unit, retain_graph=True, materialize_grads=True
        )
        diagonal[i] = row.reshape(-1)[i]
        unit.view(-1)[i] = 0
    return diagonal.reshape(weight.shape)


def _check_size(weights: Mapping[str, Any], limit: int) -> None:
    size = sum(weight.numel() for weight in weights.values())
    if size > integer(limit, name="obd: limit"):
        msg = (
            f"obd: exact=True takes a backward pass for each of {size} weights, limit is {limit}; "
            "give fewer weights, a higher limit=, or exact=False for the Fisher information"
        )
        raise ValueError(msg)
