"""GraSP: keep the weights without which the gradient could not flow."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

    from sparsecore.pruning.scores._model_runs import Loss, Run

__all__ = ["grasp"]


def grasp(
    weights: Mapping[str, Tensor],
    *,
    model: nn.Module,
    batches: Iterable[Any],
    loss: Loss | None = None,
    temperature: float = 200.0,
    training: bool = True,
    group: Any = None,
) -> dict[str, Tensor]:
    """Score each weight by what the norm of the gradient owes to it. Signed.

    ``s = w * (H g)`` with g the gradient and H the Hessian of the mean loss over all samples: to
    first order, removing the weight takes ``2 s`` from the squared norm of the gradient, by which
    the loss falls in a step. Negative scores are worst: they are not to be made absolute.

    Parameters
    ----------
    weights : mapping of str to Tensor
        Parameters of `model` by name; the model is run on these. g and H are theirs alone.
    model : torch.nn.Module
        Newly initialised. It is left as it was, with its modes, buffers, gradients.
    batches : iterable of (inputs, targets)
        Gone through twice, with the same dropout; an iterator is kept in memory. The authors take
        25 samples of each class in two batches: see `class_balanced_batches`. Inputs: a tensor, a
        tuple of arguments or a mapping of keywords.
    loss : callable, optional
        ``loss(outputs / temperature, targets)``, a mean over samples. Cross entropy.
    temperature : float
        Divides the model's outputs, so that softmax is nearly even. 1 hands them to the loss as
        they are, of any type.
    training : bool
        The mode of all modules; BatchNorm takes each batch's statistics.
    group : torch.distributed.ProcessGroup, optional
        Each of its ranks, such as ``dist.group.WORLD``, gives batches of its own, and gets what one
        process gives for the batches of all, to rounding. Without it no other rank is asked.

    Returns
    -------
    dict of str to Tensor
        Of either sign. dtype of the weights, float32 for halves.

    Raises
    ------
    TypeError, ValueError
        A temperature that is not above 0, or that cannot divide the outputs; else as `snip`.

    References
    ----------
    Wang et al., "Picking Winning Tickets Before Training by Preserving Gradient Flow", ICLR 2020
    (arXiv:2002.07376), algorithms 1 and 2 (whose scores have the other sign: the largest of them
    are removed).

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Linear(2, 1, bias=False)
    >>> weights = {"weight": torch.tensor([[3.0, -1.0]])}
    >>> batch = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0]])
    >>> mse = torch.nn.functional.mse_loss  # g is 2 x, H is 2 x x^T, for x = (1, 2)
    >>> grasp(weights, model=model, batches=[batch], loss=mse, temperature=1)
    {'weight': tensor([[ 60., -40.]])}
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel

    from sparsecore.pruning.scores import _model_runs as runs
    from sparsecore.pruning.scores._batches import iterated

    tempered = _tempered(loss, temperature)
    # Attention's fused kernels have no second derivative.
    with sdpa_kernel(SDPBackend.MATH):
        with runs.opened("grasp", model, weights, training=training) as run:
            kept = list(iterated("grasp", batches))
        with runs.opened("grasp", model, weights, training=training) as run:
            gradient = runs.mean_gradient(run, kept, tempered, group=group)
        with runs.opened("grasp", model, weights, training=training) as run:
            terms = _products(run, kept, tempered, gradient)
            product = runs.mean_of_ranks("grasp", terms, group=group)
    return {name: weights[name].detach() * hg for name, hg in product.items()}


def _products(
    run: Run, batches: Iterable[Any], loss: Loss | None, vector: Mapping[str, Tensor]
) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Yield the Hessian of each batch's loss times the vector."""
    import torch

    from sparsecore.pruning.scores import _model_runs as runs

    for samples, value in runs.losses(run, batches, loss):
        gradient = runs.gradients(run, value, create_graph=True)
        along = torch.zeros_like(value)
        for name, g in gradient.items():
            along = along + (g * vector[name]).sum().to(value.device)
        yield samples, runs.gradients(run, along)


def _tempered(loss: Loss | None, temperature: float) -> Loss | None:
    """Return the loss of outputs over the temperature."""
    from torch import Tensor
    from torch.nn.functional import cross_entropy

    from sparsecore.pruning.scores._model_runs import check_loss

    is_number = isinstance(temperature, numbers.Real)
    if not is_number or not 0 < temperature < math.inf:
        msg = f"grasp: temperature is {temperature!r}, expected a number above 0"
        raise ValueError(msg) if is_number else TypeError(msg)
    check_loss("grasp", loss)
    if temperature == 1:
        return loss
    own = loss or cross_entropy

    def tempered(outputs: Any, targets: Any) -> Tensor:
        if not isinstance(outputs, Tensor):
            msg = (
                f"grasp: the model returns {type(outputs).__name__}, which temperature="
                f"{temperature:g} cannot divide; pass temperature=1 and a loss= that divides"
            )
            raise TypeError(msg)
        return own(outputs / temperature, targets)

    return tempered
