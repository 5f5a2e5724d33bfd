"""How the set B of Top-KAST changes after a step: two ways, for two ways to store a weight."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from sparsecore.nn.positions import random_outside
from sparsecore.pruning._arrays import checked_scores, top_of_rows
from sparsecore.pruning.forward_set import ForwardSet
from sparsecore.pruning.growth import smallest
from sparsecore.pruning.masked_weight import MaskedWeight

__all__ = ["Exploration", "LargestOfDense", "RandomExchange"]


class Exploration(Protocol):
    """Changes B while the weights have all of their numbers."""

    def after_step(self, step: int, sets: Mapping[str, ForwardSet], optimizer: Optimizer) -> None:
        """Act after the optimizer's step of this number, counted from 1."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from it."""


class RandomExchange:
    """The smallest of B minus A leave for good, every so often, and as many random ones come."""

    def __init__(self, every: int, share: float, generator: torch.Generator) -> None:
        self._every, self._share, self._generator = every, share, generator

    def after_step(self, step: int, sets: Mapping[str, ForwardSet], optimizer: Optimizer) -> None:
        """Exchange entries if it is time."""
        if step % self._every:
            return
        moves = {name: self._exchanged(name, own) for name, own in sets.items()}
        for name, (drop, grow) in moves.items():
            sets[name].weight.regrow(drop, grow, optimizer)

    def _exchanged(self, name: str, own: ForwardSet) -> tuple[Tensor, Tensor]:
        weight = own.weight
        count = math.floor(self._share * (weight.entries - own.count))
        count = min(count, weight.size - weight.entries)
        drop = smallest(weight.values(), count, name=f"TopKAST: values of {name}")
        taken = weight.positions()
        return drop, random_outside(taken, weight.size, count, generator=self._generator)

    def state_dict(self) -> dict[str, Any]:
        """Return the generator's state."""
        return {"generator": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set the generator's state."""
        self._generator.set_state(state["generator"])


class LargestOfDense:
    """B is the largest of a dense weight, as many as ever; what is outside waits with its value."""

    def __init__(self, weights: Mapping[str, MaskedWeight]) -> None:
        self._weights = weights

    def after_step(
        self,
        step: int,  # noqa: ARG002 - every step is alike here
        sets: Mapping[str, ForwardSet],
        optimizer: Optimizer,
    ) -> None:
        """Undo what the step did outside of B, then take B anew."""
        chosen = {}
        for name, own in sets.items():
            if not own.weight.trains:
                continue
            own.put_back_outside()
            magnitudes = own.weight.parameter.detach().abs()
            scores = checked_scores(magnitudes, name=f"TopKAST: values of {name}")
            kept = top_of_rows(scores.reshape(1, -1), own.weight.entries)
            chosen[name] = kept.reshape(scores.shape)
        for name, mask in chosen.items():
            self._weights[name].replace_mask(mask, optimizer)

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: the masks are saved with the driver's."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Do nothing."""
