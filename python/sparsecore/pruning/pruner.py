"""Pruning of torch models: masks that stay in force through training.

The decisions are the pure functions of ``scores``, ``allocation``, ``patterns`` and ``schedules``;
``model_masks`` asks them about the weights of a model, and this module writes the zeros.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from types import MappingProxyType, TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from sparsecore.pruning.allocation import uniform
from sparsecore.pruning.model_masks import (
    Allocation,
    Score,
    Where,
    best_masks,
    check_free,
    check_held,
    check_kinds,
    check_meaning,
    selected_weights,
)
from sparsecore.pruning.patterns import ANY_POSITION, Pattern
from sparsecore.pruning.schedules import OneShot, Schedule
from sparsecore.pruning.scores import magnitude

_AT_ONCE = OneShot()


def prune(
    model: nn.Module,
    sparsity: float,
    *,
    score: Score = magnitude,
    allocation: Allocation = uniform,
    pattern: Pattern = ANY_POSITION,
    where: Where | None = None,
) -> dict[str, Tensor]:
    """Prune a model once, in place, with no training after it.

    Parameters
    ----------
    model : torch.nn.Module
        The weights of its Linear and Conv modules are pruned; a weight shared by several modules
        once, under its first name.
    sparsity : float
        Fraction to prune of all selected weights together, in [0, 1).
    score, allocation, pattern, where
        As in ``Pruner``.

    Returns
    -------
    dict of str to Tensor of bool
        The mask of each pruned parameter, True = kept.

    Raises
    ------
    ValueError
        `sparsity` outside [0, 1), nothing selected, a NaN score, or a combination without meaning,
        such as ``NM(2, 4)`` with 90 %. The model is then unchanged.
    TypeError
        A score, allocation, pattern or where that is not of its kind.

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Linear(10, 4)
    >>> masks = prune(model, 0.75)
    >>> int(masks["weight"].sum()), int(torch.count_nonzero(model.weight))
    (10, 10)
    """
    check_kinds(
        "prune",
        score=score,
        allocation=allocation,
        pattern=pattern,
        where=where,
        schedule=_AT_ONCE,
    )
    check_meaning("prune", sparsity, allocation, pattern, _AT_ONCE)
    weights = selected_weights("prune", model, pattern, where)
    with torch.no_grad():
        masks = best_masks("prune", weights, sparsity, score, allocation, pattern)
        for name, weight in weights.items():
            weight.masked_fill_(~masks[name], 0)
    return masks


class Pruner:
    """Masks on the weights of a torch model, kept in force through training.

    The masks are the pruner's own buffers, found by parameter name. After each step of the
    optimizer a post-step hook writes zeros at the pruned positions of the weights and of every
    optimizer state of the weight's shape (momentum, ``exp_avg``, ...). The model itself has no
    new attribute, parameter, buffer or hook, so its ``state_dict`` is that of the dense model.
    Forward and backward run on the dense weights; gradients at pruned positions exist, count in
    gradient clipping, and have no other effect.

    At a mask update the surviving weights compete by their scores at that time. A pruned weight
    is zero and ranks below every survivor, whatever the score: it comes back, as zero, only
    where an allocation gives its layer more weights than have survived there.

    Parameters
    ----------
    model : torch.nn.Module
        The weights of its Linear and Conv modules are pruned; a weight shared by several modules
        once, under its first name. (What ``nn.MultiheadAttention`` packs into ``in_proj_weight``
        belongs to no Linear and stays dense.)
    sparsity : float
        Final fraction to prune of all selected weights together, in [0, 1).
    optimizer : torch.optim.Optimizer
        Must hold every selected weight, in any of its parameter groups.
    score : callable
        ``{name: weight} -> {name: score}``, higher = keep; see ``scores``.
    allocation : callable
        ``({name: score}, sparsity) -> {name: kept count}``; see ``allocation``. The scores carry
        the shapes for those that need only these.
    pattern : Unstructured or NM
        ``NM(n, m)`` has the one sparsity 1 - n / m and fixes each layer's count, so it goes with
        that `sparsity`, the uniform allocation and ``OneShot`` only.
    schedule : OneShot or Cubic
        When the masks are updated. Step 0 is the construction of the pruner: ``OneShot`` prunes
        the model there.
    where : callable, optional
        ``(name, weight) -> bool`` narrows the selection.

    Raises
    ------
    ValueError
        `sparsity` outside [0, 1), nothing selected, a weight that the optimizer does not hold, a
        combination without meaning, a weight that another pruner on the same optimizer prunes,
        a NaN score (then also in a later step). The model is then unchanged.
    TypeError
        A score, allocation, pattern, schedule or where that is not of its kind.

    Warns
    -----
    UserWarning
        Where the block is left, or ``remove`` called, before the end of the schedule.

    Notes
    -----
    Steps that a ``GradScaler`` skips are not counted. To resume, build the model, the optimizer
    and the pruner as in the first run, then load the three states. A score with its own generator
    continues bit for bit only if the generator's state is restored, too.

    References
    ----------
    Zhu and Gupta, arXiv:1710.01878, section 3 (masks updated on a gradual schedule).

    Examples
    --------
    >>> import torch
    >>> from sparsecore.pruning import Cubic
    >>> model = torch.nn.Linear(10, 4)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    >>> ramp = Cubic(begin=0, end=4, every=2)
    >>> with Pruner(model, schedule=ramp, sparsity=0.5, optimizer=optimizer) as pruner:
    ...     for _ in range(4):
    ...         optimizer.zero_grad()
    ...         model(torch.ones(2, 10)).square().sum().backward()
    ...         optimizer.step()
    >>> pruner.step, pruner.sparsity(), pruner.kept()
    (4, 0.5, {'weight': 20})
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        sparsity: float,
        optimizer: torch.optim.Optimizer,
        score: Score = magnitude,
        allocation: Allocation = uniform,
        pattern: Pattern = ANY_POSITION,
        schedule: Schedule = _AT_ONCE,
        where: Where | None = None,
    ) -> None:
        check_kinds(
            "Pruner",
            score=score,
            allocation=allocation,
            pattern=pattern,
            where=where,
            schedule=schedule,
        )
        check_meaning("Pruner", sparsity, allocation, pattern, schedule)
        weights = selected_weights("Pruner", model, pattern, where)
        check_held(weights, optimizer)
        check_free(weights, _pruned_on(optimizer))
        self._model = model
        self._optimizer = optimizer
        self._score = score
        self._allocation = allocation
        self._pattern = pattern
        self._schedule = schedule
        self._final_sparsity = float(sparsity)
        self._step = 0
        self._masks = {n: torch.ones_like(w, dtype=torch.bool) for n, w in weights.items()}
        self._update_if_due()
        self._hook = optimizer.register_step_post_hook(self._after_step)
        self._removed = False

    @property
    def masks(self) -> Mapping[str, Tensor]:
        """The mask of each pruned parameter by its name, True = kept; updated in place."""
        return MappingProxyType(self._masks)

    @property
    def step(self) -> int:
        """How many optimizer steps have been taken since the pruner was built."""
        return self._step

    def kept(self) -> dict[str, int]:
        """Return the exact number of kept weights of each pruned parameter."""
        return {name: int(mask.sum()) for name, mask in self._masks.items()}

    def sparsity(self) -> float:
        """Return pruned / all, counted over the masks as they are now."""
        size = sum(mask.numel() for mask in self._masks.values())
        return (size - sum(self.kept().values())) / size

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the step and the masks; ``torch.load(weights_only=True)`` reads it."""
        return {"step": self._step, "masks": {n: m.clone() for n, m in self._masks.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state, and apply its masks to the model.

        Parameters
        ----------
        state : mapping
            What ``state_dict`` returned for the same selection of weights.

        Raises
        ------
        ValueError
            The state is for other parameters or shapes; nothing has changed then.
        """
        expected = {name: tuple(mask.shape) for name, mask in self._masks.items()}
        found = {name: tuple(mask.shape) for name, mask in state["masks"].items()}
        if found != expected:
            msg = f"Pruner.load_state_dict: masks are {found}, this model needs {expected}"
            raise ValueError(msg)
        for name, mask in self._masks.items():
            mask.copy_(state["masks"][name])
        self._step = int(state["step"])
        self._apply()

    def remove(self) -> None:
        """Detach from the optimizer; weights and masks stay as they are. Safe to repeat.

        Warns
        -----
        UserWarning
            Before the end of the schedule: the model is not as sparse as was asked for.
        """
        self._hook.remove()
        self._warn_if_unfinished()

    def __enter__(self) -> Self:
        """Return the pruner; leaving the block removes it, with the warning of ``remove``."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Detach from the optimizer; an exception on its way out is all there is to say then."""
        self._hook.remove()
        if error is None:
            self._warn_if_unfinished()
        self._removed = True

    def __repr__(self) -> str:
        """Describe the pruner in one line."""
        return (
            f"Pruner({len(self._masks)} weights, step {self._step}, sparsity "
            f"{self.sparsity():.4g} of {self._final_sparsity:.4g}, {self._pattern}, "
            f"{self._schedule})"
        )

    def _warn_if_unfinished(self) -> None:
        """Warn, once, of a schedule that did not come to its end; called by public methods only."""
        removed, self._removed = self._removed, True
        target = self._final_sparsity
        if removed or self._schedule.sparsity_at(self._step, target) >= target:
            return
        msg = (
            f"Pruner: removed after {self._step} steps at sparsity {self.sparsity():.4g}, before "
            f"the target {target:.4g}, which {self._schedule} has not reached"
        )
        warnings.warn(msg, UserWarning, stacklevel=3)

    def _after_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        # GradScaler does not call step() after an overflow, so this hook does not run; fused
        # optimizers it does call, with the overflow flag set for the time of the call.
        overflow = getattr(optimizer, "found_inf", None)
        if overflow is not None and bool(overflow):
            return
        self._step += 1
        self._apply()
        self._update_if_due()

    def _update_if_due(self) -> None:
        if not self._schedule.updates_at(self._step):
            return
        sparsity = self._schedule.sparsity_at(self._step, self._final_sparsity)
        with torch.no_grad():
            masks = best_masks(
                "Pruner",
                self._weights(),
                sparsity,
                self._score,
                self._allocation,
                self._pattern,
                self._masks,
            )
        for name, mask in self._masks.items():
            mask.copy_(masks[name])
        self._apply()

    @torch.no_grad()
    def _apply(self) -> None:
        for name, weight in self._weights().items():
            pruned = ~self._masks[name]
            weight.masked_fill_(pruned, 0)
            for value in self._optimizer.state.get(weight, {}).values():
                if isinstance(value, Tensor) and value.shape == weight.shape:
                    value.masked_fill_(pruned, 0)

    def _weights(self) -> dict[str, Tensor]:
        # By name each time: wrappers such as FSDP replace the parameter objects.
        return {name: self._model.get_parameter(name) for name in self._masks}


def _pruned_on(optimizer: torch.optim.Optimizer) -> frozenset[int]:
    """Return the ids of the weights that pruners keep zero on this optimizer."""
    # Its own hooks are the one record that removed pruners have left.
    owners = (getattr(h, "__self__", None) for h in optimizer._optimizer_step_post_hooks.values())
    return frozenset(
        id(weight)
        for owner in owners
        if isinstance(owner, Pruner)
        for weight in owner._weights().values()
    )
