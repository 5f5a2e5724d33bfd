"""RigL as it is done on dense weights: a mask, and dense gradients and moments."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparsecore.pruning.growth import drop_fraction

__all__ = ["MaskedDense"]


class MaskedDense:
    """Masks of weights, and the step of an optimizer that keeps to them.

    The baseline: RigL of Evci et al. (ICML 2020) with what torch offers, for weights that are zero
    where they are pruned. It updates masks in the same steps as `sparsecore.pruning.RigL`.
    """

    def __init__(
        self,
        weights: Mapping[str, nn.Parameter],
        optimizer: Optimizer,
        *,
        total_steps: int,
        every: int,
    ) -> None:
        self._weights, self._optimizer = weights, optimizer
        self._every, self._stop, self._step = every, 0.75 * total_steps, 0
        self.masks = {name: weight.detach() != 0 for name, weight in weights.items()}

    @torch.no_grad()
    def step(self) -> None:
        """Take a step, or update the masks in its place."""
        self._step += 1
        if self._step % self._every == 0 and self._step < self._stop:
            fraction = drop_fraction(self._step, alpha=0.3, stop=self._stop)
            for name, weight in self._weights.items():
                self._update(weight, self.masks[name], fraction)
            return
        for name, weight in self._weights.items():
            if weight.grad is not None:
                weight.grad.mul_(self.masks[name])
        self._optimizer.step()

    def _update(self, weight: nn.Parameter, mask: Tensor, fraction: float) -> None:
        """Drop the smallest weights, grow where the gradient is the largest."""
        if weight.grad is None:
            return
        flat = mask.view(-1)
        count = math.floor(fraction * int(flat.sum()))
        before = flat.clone()
        ranked = weight.detach().abs().view(-1).masked_fill_(~flat, math.inf)
        flat[ranked.topk(count, largest=False).indices] = False
        ranked = weight.grad.abs().view(-1).masked_fill_(flat, -1)
        flat[ranked.topk(count).indices] = True
        new = (flat & before).logical_not_().view_as(weight)
        weight.masked_fill_(new, 0)
        for state in self._optimizer.state[weight].values():
            if isinstance(state, Tensor) and state.shape == weight.shape:
                state.masked_fill_(new, 0)
