"""When and how entries move in SET and RigL: the smallest leave, and as many come."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparsecore.nn import regrow_
from sparsecore.nn.csr_layer import CSRLayer
from sparsecore.nn.positions import flat_positions
from sparsecore.pruning.growth import drop_fraction, smallest
from sparsecore.pruning.step_hooks import StepHooks

__all__ = ["MaskUpdates"]


class MaskUpdates(StepHooks):
    """Drops the smallest and grows as many: what SET and RigL share."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        total_steps: int,
        every: int,
        alpha: float,
        end: float,
    ) -> None:
        super().__init__(model, optimizer)
        caller = type(self).__name__
        for name, count in (("total_steps", total_steps), ("every", every)):
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                msg = f"{caller}: {name} is {count!r}, expected an integer of at least 1"
                raise ValueError(msg)
        for name, share in (("alpha", alpha), ("end", end)):
            if not 0 <= share <= 1:
                msg = f"{caller}: {name} is {share!r}, expected 0 to 1"
                raise ValueError(msg)
        self._every, self._alpha, self._stop = every, alpha, end * total_steps

    def _grown(self, name: str, taken: Tensor, count: int) -> Tensor | None:
        """Return `count` positions outside of those that stay; None leaves the layer alone."""
        raise NotImplementedError

    def updates_at(self, step: int) -> bool:
        """Whether the optimizer's step of this number, counted from 1, is a mask update."""
        return step % self._every == 0 and 0 < step < self._stop

    def _before(self, step: int) -> None:
        if not self.updates_at(step):
            return
        fraction = drop_fraction(step, alpha=self._alpha, stop=self._stop)
        # All decisions first: an error on the way changes nothing.
        moves = {name: self._move(name, layer, fraction) for name, layer in self._layers.items()}
        for name, move in moves.items():
            if move is not None:
                drop, grow = move
                regrow_(self._layers[name], drop=drop, grow=grow, optimizer=self._optimizer)
        # The update replaces the step: optimizers pass over parameters without a gradient.
        for group in self._optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def _move(self, name: str, layer: CSRLayer, fraction: float) -> tuple[Tensor, Tensor] | None:
        values = layer.values.detach()
        count = math.floor(fraction * values.numel())
        if not count:
            return None
        drop = smallest(values, count, name=f"{type(self).__name__}: values of {name}")
        stays = torch.ones(values.numel(), dtype=torch.bool)
        stays[drop] = False
        flat = flat_positions(layer.indices, layer.indptr, layer._weight_shape()[1])
        grow = self._grown(name, flat[stays], count)
        return None if grow is None else (drop, grow)

    def _after(self) -> None:
        pass

    def __repr__(self) -> str:
        """Describe the driver in one line."""
        entries = sum(self.nnz().values())
        return (
            f"{type(self).__name__}({len(self._layers)} layers, {entries} entries, step "
            f"{self._step}, a mask update every {self._every} steps before {self._stop:g})"
        )
