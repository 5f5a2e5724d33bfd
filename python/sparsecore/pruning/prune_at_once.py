"""Pruning of torch models with no training in between."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from sparsecore.pruning.allocation import uniform
from sparsecore.pruning.controls import shuffle_layerwise
from sparsecore.pruning.generators import seeded_generator
from sparsecore.pruning.model_masks import Allocation, ScoreFunction, Where
from sparsecore.pruning.pattern import Pattern
from sparsecore.pruning.patterns import ANY_POSITION
from sparsecore.pruning.reinitialization import reinitialize
from sparsecore.pruning.request import Request, checked_request
from sparsecore.pruning.schedules import Iterative, OneShot, Schedule
from sparsecore.pruning.scores import magnitude
from sparsecore.pruning.wrapped_models import any_sharded, unwrapped
from sparsecore.pruning.zeroing import write_zeros

__all__ = ["prune"]

Control = Literal["shuffle", "reinitialize"]
_AT_ONCE = OneShot()


def prune(
    model: nn.Module,
    sparsity: float | None = None,
    *,
    score: ScoreFunction = magnitude,
    allocation: Allocation | Mapping[str, int | float] = uniform,
    pattern: Pattern = ANY_POSITION,
    schedule: Schedule = _AT_ONCE,
    where: Where | None = None,
    batches: Any = None,
    loss: Any = None,
    group: Any = None,
    control: Control | None = None,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Prune a model in place, with no training in between.

    Parameters
    ----------
    model : torch.nn.Module
        The weights of its Linear and Conv modules are pruned; a weight shared by several modules
        once, under its first name. In a ``DistributedDataParallel`` names are those inside of it.
    sparsity : float
        Fraction to prune of all selected weights together, in [0, 1). May be left out where
        `allocation` is explicit.
    score, allocation, pattern, where, batches, loss
        As in ``Pruner``.
    group : torch.distributed.ProcessGroup, optional
        Ranks that prune copies of one model alike, each calling this with its own `batches`: scores
        of these are reduced over all, and masks compared at every update. That of the wrapper,
        where `model` is a ``DistributedDataParallel``. Under ``fully_shard`` it is not needed:
        masks are DTensors, placed as the weights. See docs/distributed.md.
    schedule : OneShot or Iterative
        ``Iterative(rounds)`` scores what earlier rounds have left, `rounds` times: SynFlow takes
        100 exponential ones.
    control : {"shuffle", "reinitialize"}, optional
        What the mask is to be compared with, in the place of it: "shuffle" puts each layer's kept
        positions in random places of the layer (`shuffle_layerwise`), "reinitialize" draws the
        model's weights anew under the mask (`reinitialize`). Of one process only.
    generator : torch.Generator, optional
        Draws the control; it is advanced. Without it one is made, with seed 0.

    Returns
    -------
    dict of str to Tensor of bool
        The mask of each pruned parameter, True = kept.

    Raises
    ------
    ValueError
        `sparsity` outside [0, 1), nothing selected, a NaN score, or a combination without meaning,
        such as ``NM(2, 4)`` with 90 %, a schedule that counts steps of training, or a control of a
        model on several ranks; or a weight to which nothing can be written. The model is then
        unchanged.
    TypeError
        An argument that is not of its kind, or a score or allocation that returns something else
        than ``Pruner`` says.
    RuntimeError
        On every rank of `group`: masks differ. The model is then unchanged.

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Linear(10, 4)
    >>> masks = prune(model, 0.75)
    >>> int(masks["weight"].sum()), int(torch.count_nonzero(model.weight))
    (10, 10)
    """
    model, group = unwrapped("prune", model, group)
    request = checked_request(
        "prune",
        model,
        sparsity,
        score=score,
        allocation=allocation,
        pattern=pattern,
        schedule=schedule,
        where=where,
        batches=batches,
        loss=loss,
        group=group,
    )
    _check_control(control, generator, request)
    with torch.no_grad():
        masks = _masks(request, _sparsities(schedule, request.sparsity))
        if control == "shuffle":
            masks = shuffle_layerwise(masks, generator=seeded_generator("prune", generator))
        if control == "reinitialize":
            reinitialize(model, generator=generator)
        for name, weight in request.weights.items():
            write_zeros([weight], masks[name])
    return masks


def _check_control(control: object, generator: object, request: Request) -> None:
    if control is not None and control not in get_args(Control):
        msg = f"prune: control is {control!r}, expected one of {get_args(Control)} or None"
        raise ValueError(msg)
    if control is None and generator is not None:
        msg = "prune: generator is given without control=, for which alone it draws"
        raise ValueError(msg)
    if control is not None and (request.group is not None or any_sharded(request.weights)):
        msg = f"prune: control is {control!r}, which is of one process, but the model is on several"
        raise ValueError(msg)


def _sparsities(schedule: Schedule, final: float) -> list[float]:
    """Return the sparsity of each round."""
    if isinstance(schedule, Iterative) and schedule.every is None:
        return [schedule.sparsity_after(k, final) for k in range(1, schedule.rounds + 1)]
    if isinstance(schedule, OneShot):
        return [final]
    msg = (
        f"prune: {schedule} counts steps of training, of which there are none; expected OneShot() "
        "or Iterative(rounds), or use Pruner"
    )
    raise ValueError(msg)


def _masks(request: Request, sparsities: list[float]) -> dict[str, Tensor]:
    weights = request.weights
    masks = None
    for sparsity in sparsities:
        masks = request.masks(weights, sparsity, masks)
        weights = {n: w.masked_fill(~masks[n], 0) for n, w in request.weights.items()}
    assert masks is not None
    return masks
