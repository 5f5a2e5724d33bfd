"""When and how entries move in SET and RigL: the smallest leave, and as many come."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparsecore.pruning._numbers import is_positive_integer, is_real
from sparsecore.pruning.driver_states import checked_state
from sparsecore.pruning.growth import drop_fraction, smallest
from sparsecore.pruning.ranks import check_same_on_ranks
from sparsecore.pruning.sparse_weight import SparseWeight
from sparsecore.pruning.step_flops import densities, step_flops
from sparsecore.pruning.step_hooks import StepHooks

__all__ = ["MaskUpdates"]


class MaskUpdates(StepHooks):
    """Drops the smallest and grows as many: what SET and RigL share."""

    # Whether a mask update takes the gradient of the dense weight.
    _ranks_gradients = False

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        total_steps: int,
        every: int,
        alpha: float,
        end: float,
        masks: Mapping[str, Tensor] | None,
    ) -> None:
        super().__init__(model, optimizer, masks)
        caller = type(self).__name__
        for name, count in (("total_steps", total_steps), ("every", every)):
            if not is_positive_integer(count):
                msg = f"{caller}: {name} is {count!r}, expected an integer of at least 1"
                raise ValueError(msg)
        for name, share in (("alpha", alpha), ("end", end)):
            if not is_real(share) or not 0 <= share <= 1:
                msg = f"{caller}: {name} is {share!r}, expected 0 to 1"
                raise ValueError(msg)
        self._every, self._alpha, self._stop = every, alpha, end * total_steps

    def _grown(self, name: str, weight: SparseWeight, taken: Tensor, count: int) -> Tensor | None:
        """Return `count` positions outside of those that stay; None leaves the weight alone."""
        raise NotImplementedError

    def updates_at(self, step: int) -> bool:
        """Whether the optimizer's step of this number, counted from 1, is a mask update."""
        return step % self._every == 0 and 0 < step < self._stop

    def step_flops(self, dense: Mapping[str, float], *, step: int) -> float:
        """Return the FLOPs of a training step where zeros cost nothing.

        ``3 f_S``, and for RigL's mask updates, which take the dense gradient, ``2 f_S + f_D``.

        Parameters
        ----------
        dense : mapping of str to float
            FLOPs of the dense forward pass by names as in ``nnz()``; other names are dense layers.
        step : int
            The optimizer's step, counted from 1.

        Raises
        ------
        ValueError
            If a weight that is driven here is missing.

        References
        ----------
        Evci et al., "Rigging the Lottery: Making All Tickets Winners", ICML 2020, the appendix on
        FLOPs.

        Examples
        --------
        >>> from sparsecore.pruning import RigL
        >>> model = nn.Linear(10, 10)
        >>> mask = torch.zeros(10, 10, dtype=torch.bool)
        >>> mask[0] = True
        >>> sgd = torch.optim.SGD(model.parameters())
        >>> dst = RigL(model, sgd, total_steps=100, every=10, masks={"weight": mask})
        >>> dst.step_flops({"weight": 200.0}, step=9), dst.step_flops({"weight": 200.0}, step=10)
        (60.0, 240.0)
        """
        density = densities(self.nnz(), {n: w.size for n, w in self._sparse.items()})
        dense_gradient = self._ranks_gradients and self.updates_at(step)
        return step_flops(
            f"{type(self).__name__}.step_flops",
            dense,
            forward=density,
            gradient={} if dense_gradient else density,
        )

    def _attach(self) -> None:
        super()._attach()
        self._enforce()

    def _before(self, step: int) -> None:
        if not self.updates_at(step):
            for weight in self._sparse.values():
                weight.confine_gradient()
            return
        fraction = drop_fraction(step, alpha=self._alpha, stop=self._stop)
        # All decisions first: an error on the way changes nothing.
        sharded = {n: w for n, w in self._sharded().items() if w.trains}
        exchanged = {n: w.moved(math.floor(fraction * w.entries)) for n, w in sharded.items()}
        moves = {
            n: self._move(n, w, fraction)
            for n, w in self._sparse.items()
            if w.trains and n not in sharded
        }
        decided = {n: torch.cat(move) for n, move in moves.items() if move is not None}
        if len(sharded) < len(self._sparse):
            check_same_on_ranks(type(self).__name__, decided, group=self._group)
        for name, move in moves.items():
            if move is not None:
                drop, grow = move
                self._sparse[name].regrow(drop, grow, self._optimizer)
        for name, mask in exchanged.items():
            if mask is not None:
                sharded[name].exchange(mask, self._optimizer)
        # The update replaces the step: optimizers pass over parameters without a gradient.
        for group in self._optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def _move(
        self, name: str, weight: SparseWeight, fraction: float
    ) -> tuple[Tensor, Tensor] | None:
        values = weight.values()
        count = math.floor(fraction * len(values))
        if not count:
            return None
        drop = smallest(values, count, name=f"{type(self).__name__}: values of {name}").cpu()
        stays = torch.ones(len(values), dtype=torch.bool)
        stays[drop] = False
        grow = self._grown(name, weight, weight.positions()[stays], count)
        return None if grow is None else (drop, grow)

    def _after(self) -> None:
        self._enforce()

    def _enforce(self) -> None:
        for weight in self._sparse.values():
            weight.enforce(self._optimizer)

    def state_dict(self) -> dict[str, Any]:
        """Return the step and the masks; the patterns of CSR layers are in the model's state."""
        return {"step": self._step, "masks": self._own_masks()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned, after the model's and optimizer's states.

        Raises
        ------
        ValueError
            Something is missing, or the masks are of other names or shapes; nothing has changed
            then.
        TypeError
            The state is no mapping.
        """
        state = checked_state(type(self).__name__, state, self.state_dict())
        masks = self._check_masks(state)
        for name, mask in masks.items():
            self._masked[name].load_mask(mask)
        self._enforce()
        self._step = state["step"]
        self._resume(state)

    def _resume(self, state: Mapping[str, Any]) -> None:
        """Take over what else a checked state has."""

    def __repr__(self) -> str:
        """Describe the driver in one line."""
        entries = sum(self.nnz().values())
        return (
            f"{type(self).__name__}({len(self._sparse)} {self._kind}, {entries} entries, step "
            f"{self._step}, a mask update every {self._every} steps before {self._stop:g})"
        )
