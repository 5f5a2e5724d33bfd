"""Pruning of torch models: masks that stay in force through training.

The decisions are the pure functions of ``scores``, ``allocation``, ``patterns`` and ``schedules``;
``request`` checks that they fit a model, ``model_masks`` asks them about its weights, and this
module writes the zeros.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from types import MappingProxyType, TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from sparsecore.pruning.allocation import uniform
from sparsecore.pruning.claims import claimed
from sparsecore.pruning.drivers import NotCopied
from sparsecore.pruning.masks_in_force import apply_masks, overflowed
from sparsecore.pruning.model_checks import check_free, check_held
from sparsecore.pruning.model_masks import Allocation, ScoreFunction, Where
from sparsecore.pruning.pattern import Pattern
from sparsecore.pruning.patterns import ANY_POSITION
from sparsecore.pruning.pruner_state import check_state
from sparsecore.pruning.request import checked_request
from sparsecore.pruning.rewind import Rewind
from sparsecore.pruning.rewinding import Rewinder, check_rewind
from sparsecore.pruning.schedules import Iterative, OneShot, Schedule
from sparsecore.pruning.scores import magnitude
from sparsecore.pruning.wrapped_models import (
    count_kept,
    current_parameter,
    placed_like,
    unwrapped,
)

_AT_ONCE = OneShot()


class Pruner(NotCopied):
    """Masks on the weights of a torch model, kept in force through training.

    The masks are the pruner's own buffers, found by parameter name. After each step of the
    optimizer a post-step hook writes zeros at the pruned positions of the weights and of every
    optimizer state of the weight's shape (momentum, ``exp_avg``, ...). The model itself has no
    new attribute, parameter, buffer or hook, so its ``state_dict`` is that of the dense model.
    Forward and backward run on the dense weights; gradients at pruned positions exist, count in
    gradient clipping, and have no other effect.

    At a mask update the surviving weights compete by their scores at that time. A pruned weight
    is zero and ranks below every survivor, whatever the score: it comes back, as zero, only
    where an allocation gives its layer more weights than have survived there, and in patterns of
    groups never.

    Parameters
    ----------
    model : torch.nn.Module
        The weights of its Linear and Conv modules are pruned; a weight shared by several modules
        once, under its first name. (What ``nn.MultiheadAttention`` packs into ``in_proj_weight``
        belongs to no Linear and stays dense, as does a weight that a parametrization computes.)
    optimizer : torch.optim.Optimizer
        Must hold every selected weight, in any of its parameter groups.
    sparsity : float
        Final fraction to prune of all selected weights together, in [0, 1). May be left out where
        `allocation` is explicit.
    score : callable
        ``{name: weight} -> {name: score}``, higher = keep; see ``scores``.
    allocation : callable or mapping
        ``({name: score}, sparsity) -> {name: kept count}``; see ``allocation``. The scores carry
        the shapes for those that need only these, and where a pattern keeps groups each has the
        mean of its group. Or what each layer keeps, by name: a count, or a density as a float.
    pattern : Unstructured, NM, Block, Filter or Channel
        ``NM(n, m)`` has the one sparsity 1 - n / m and fixes each layer's count, so it goes with
        that `sparsity`, the uniform allocation and ``OneShot`` only. Counts that a pattern of
        groups cannot have become the nearest that it can, ``pattern.round_count``: the sparsity is
        then not exact.
    schedule : OneShot, Cubic or Iterative
        When the masks are updated. Step 0 is the construction of the pruner: ``OneShot`` prunes
        the model there.
    where : callable, optional
        ``(name, weight) -> bool`` narrows the selection.
    batches : iterable of (inputs, targets), optional
        For scores that need data; the score is then called as
        ``score(weights, model=model, batches=batches)``.
    loss : callable, optional
        ``(outputs, targets) -> scalar``, handed on to the score as ``loss=``.
    group : torch.distributed.ProcessGroup, optional
        Ranks that prune copies of one model alike, each calling this with its own `batches`: scores
        of these are reduced over all, and masks compared at every update. That of the wrapper,
        where `model` is a ``DistributedDataParallel``. Under ``fully_shard`` it is not needed:
        masks are DTensors, placed as the weights. See docs/distributed.md.
    rewind : Rewind, optional
        With ``Iterative``: after each round training goes back to this step. A round then lasts
        from there to step `every`.
    scheduler : learning-rate scheduler, optional
        With `rewind`: goes back, too. Call its ``step()`` after ``optimizer.step()`` as always.

    Raises
    ------
    ValueError
        `sparsity` outside [0, 1), nothing selected, a weight that the optimizer does not hold, a
        combination without meaning, a weight that another pruner on the same optimizer prunes,
        a score that lacks `batches`, a NaN score (then also in a later step), a weight to which
        nothing can be written, two that share memory. The model is then unchanged.
    TypeError
        An argument that is not of its kind, or a score or allocation that returns something else
        than is said above.
    RuntimeError
        On every rank of `group`, also in a later step: masks differ.

    Warns
    -----
    UserWarning
        Where the block is left, or ``remove`` called, before the end of the schedule.

    Notes
    -----
    Steps that a ``GradScaler`` skips are not counted. To resume, build the model, the optimizer
    and the pruner as in the first run, then load the three states. A score with its own generator
    continues bit for bit only if the generator's state is restored, too. Going back leaves
    generators, the order of the data and a ``GradScaler`` as they are.

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
        optimizer: torch.optim.Optimizer,
        sparsity: float | None = None,
        score: ScoreFunction = magnitude,
        allocation: Allocation | Mapping[str, int | float] = uniform,
        pattern: Pattern = ANY_POSITION,
        schedule: Schedule = _AT_ONCE,
        where: Where | None = None,
        batches: Any = None,
        loss: Any = None,
        group: Any = None,
        rewind: Rewind | None = None,
        scheduler: Any = None,
    ) -> None:
        model, group = unwrapped("Pruner", model, group)
        self._request = checked_request(
            "Pruner",
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
        weights = self._request.weights
        check_held(weights, optimizer)
        check_free(weights, claimed(optimizer))
        check_rewind(rewind, scheduler, schedule, optimizer)
        self._model, self._optimizer, self._schedule = model, optimizer, schedule
        self._step = self._step_of_run = self._round = 0
        self._masks = {n: torch.ones_like(w, dtype=torch.bool) for n, w in weights.items()}
        # Of all ranks, so that to ask for them is no collective.
        self._kept = {name: mask.numel() for name, mask in self._masks.items()}
        self._rewinder: Rewinder | None = None
        if rewind is not None:
            self._rewinder = Rewinder(model, optimizer, scheduler, step=rewind.step)
        self._update_if_due()
        self._hooks = [optimizer.register_step_post_hook(self._after_step)]
        if self._rewinder is not None:
            self._hooks.append(optimizer.register_step_pre_hook(self._before_step))
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
        return dict(self._kept)

    def sparsity(self) -> float:
        """Return pruned / all, counted over the masks as they are now; 0 of empty weights."""
        size = sum(mask.numel() for mask in self._masks.values())
        return (size - sum(self.kept().values())) / size if size else 0.0

    def rounds(self) -> Iterator[int]:
        """Yield before each training, and prune after all but the last.

        For ``Iterative`` without `every`. Yields 0 while the model is dense, then 1 after the
        first round of pruning, and so on to the last round: ``for k in pruner.rounds(): train()``
        trains `rounds` + 1 times. After ``load_state_dict`` it goes on with the saved round.

        Raises
        ------
        ValueError
            The schedule has no such rounds; or, after a training, ``Rewind(step)`` lies beyond it.
        """
        schedule = self._schedule
        if not isinstance(schedule, Iterative) or schedule.every is not None:
            msg = f"Pruner.rounds: {schedule} has its own steps, expected Iterative without every="
            raise ValueError(msg)
        return self._rounds(schedule.rounds)

    def _rounds(self, last: int) -> Iterator[int]:
        yield self._round
        while self._round < last:
            if self._rewinder is not None and not self._rewinder.is_ready:
                msg = (
                    f"Pruner.rounds: trained {self._step_of_run} steps, expected at least "
                    f"{self._rewinder.step}, to which rewind= goes back"
                )
                raise ValueError(msg)
            self._take_round(within_step=False)
            yield self._round

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the steps, the masks and what `rewind` has kept.

        ``torch.load(weights_only=True)`` reads it where the scheduler's state is plain.
        """
        return {
            "step": self._step,
            "step_of_run": self._step_of_run,
            "round": self._round,
            "masks": {n: m.clone() for n, m in self._masks.items()},
            "rewind": self._rewinder and self._rewinder.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state, and apply its masks to the model.

        Parameters
        ----------
        state : mapping
            What ``state_dict`` returned for the same selection of weights.

        Raises
        ------
        ValueError
            The state is for other parameters or shapes, of a pruner that differs in `rewind`, or
            none of a pruner's.
        TypeError
            It is no mapping. Nothing has changed then, as after a ValueError.
        """
        check_state(state, self._masks, rewinds=self._rewinder is not None)
        if self._rewinder is not None:
            self._rewinder.check_state(state["rewind"])
        for name, mask in self._masks.items():
            mask.copy_(placed_like(state["masks"][name], mask))
        self._kept = {name: count_kept(mask) for name, mask in self._masks.items()}
        if self._rewinder is not None:
            self._rewinder.load_state_dict(state["rewind"])
        self._step, self._round = int(state["step"]), int(state["round"])
        self._step_of_run = int(state["step_of_run"])
        self._apply()

    def remove(self) -> None:
        """Detach from the optimizer; weights and masks stay as they are. Safe to repeat.

        Warns
        -----
        UserWarning
            Before the end of the schedule: the model is not as sparse as was asked for.
        """
        self._detach()
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
        self._detach()
        if error is None:
            self._warn_if_unfinished()
        self._removed = True

    def __repr__(self) -> str:
        """Describe the pruner in one line."""
        return (
            f"Pruner({len(self._masks)} weights, step {self._step}, sparsity "
            f"{self.sparsity():.4g} of {self._request.sparsity:.4g}, {self._request.pattern}, "
            f"{self._schedule})"
        )

    def _detach(self) -> None:
        for hook in self._hooks:
            hook.remove()

    def _warn_if_unfinished(self) -> None:
        """Warn, once, of a schedule that did not come to its end; called by public methods only."""
        removed, self._removed = self._removed, True
        target = self._request.sparsity
        if removed or self._due_sparsity() >= target:
            return
        msg = (
            f"Pruner: removed after {self._step} steps at sparsity {self.sparsity():.4g}, before "
            f"the target {target:.4g}, which {self._schedule} has not reached"
        )
        warnings.warn(msg, UserWarning, stacklevel=3)

    def _due_sparsity(self) -> float:
        """Return the sparsity of the schedule now."""
        if isinstance(self._schedule, Iterative):
            return self._schedule.sparsity_after(self._round, self._request.sparsity)
        return self._schedule.sparsity_at(self._step, self._request.sparsity)

    # ---- around a step ----

    def _before_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if self._rewinder is not None and not overflowed(optimizer):
            self._rewinder.before_step(self._step_of_run)

    def _after_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if overflowed(optimizer):
            return
        self._step += 1
        self._step_of_run += 1
        self._apply()
        if self._rewinder is not None:
            self._rewinder.after_step(self._step_of_run)
        self._update_if_due()

    def _update_if_due(self) -> None:
        if not self._schedule.updates_at(self._step_of_run):
            return
        if not isinstance(self._schedule, Iterative):
            self._update()
        elif self._round < self._schedule.rounds:
            self._take_round(within_step=True)

    def _take_round(self, *, within_step: bool) -> None:
        """Prune for the next round, and go back where that was asked for."""
        self._round += 1
        try:
            self._update()
        except BaseException:
            self._round -= 1
            raise
        if self._rewinder is not None:
            self._rewinder.rewind(within_step=within_step)
            self._step_of_run = self._rewinder.step
            self._apply()

    def _update(self) -> None:
        """Compute the masks anew."""
        with torch.no_grad():
            masks = self._request.masks(self._weights(), self._due_sparsity(), self._masks)
        for name, mask in self._masks.items():
            mask.copy_(masks[name])
        self._kept = {name: count_kept(mask) for name, mask in self._masks.items()}
        self._apply()

    def _apply(self) -> None:
        apply_masks(self._weights(), self._masks, self._optimizer)

    def _weights(self) -> dict[str, Tensor]:
        # By name each time: wrappers such as FSDP replace the parameter objects.
        return {
            name: current_parameter(self._model, name, mask=m) for name, m in self._masks.items()
        }
