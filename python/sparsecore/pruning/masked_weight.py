"""The sparse weight that is a dense parameter with a mask."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparsecore.pruning.masks_in_force import states_like
from sparsecore.pruning.wrapped_models import (
    count_kept,
    current_parameter,
    is_sharded,
    placed_like,
)
from sparsecore.pruning.zeroing import write_zeros

__all__ = ["MaskedWeight"]


class MaskedWeight:
    """A `SparseWeight` whose entries are where a mask is True: see there for the methods.

    The parameter is found by its name whenever it is asked for, since wrappers such as FSDP replace
    it. The mask is a copy. It is replaced, never edited, so one that was read stays as it was.
    """

    def __init__(self, model: nn.Module, name: str, mask: Tensor) -> None:
        self._model, self._name = model, name
        self._mask, self._entries = mask.clone(), count_kept(mask)

    @property
    def parameter(self) -> Tensor:
        """The dense weight."""
        return current_parameter(self._model, self._name, mask=self._mask)

    @property
    def is_sharded(self) -> bool:
        """Whether weight and mask are DTensors: `moved` then takes the place of `regrow`."""
        return is_sharded(self._mask)

    @property
    def trains(self) -> bool:
        """Whether the weight requires a gradient now."""
        return self.parameter.requires_grad

    @property
    def size(self) -> int:
        """The number of the weight's elements."""
        return self._mask.numel()

    @property
    def entries(self) -> int:
        """The number of True in the mask."""
        return self._entries

    def mask(self) -> Tensor:
        """Return the mask, on the weight's device."""
        device = self.parameter.device
        if self._mask.device != device:
            self._mask = self._mask.to(device)
        return self._mask

    def outside(self) -> Tensor:
        """Return where the mask is False."""
        return ~self.mask()

    def values(self) -> Tensor:
        """Return the weight where the mask is True, row-major."""
        return self.parameter.detach().masked_select(self.mask())

    def positions(self) -> Tensor:
        """Return the flat indices of the entries."""
        return self.mask().flatten().nonzero().flatten().cpu()

    def watch(self, *, due: bool) -> None:
        """Do nothing: autograd computes the gradient of the dense weight in every step."""

    def gradient(self) -> Tensor | None:
        """Return the weight's gradient; ValueError where it is sparse."""
        gradient = self.parameter.grad
        if gradient is not None and gradient.layout != torch.strided:
            msg = (
                f"the gradient of {self._name} has layout {gradient.layout}, expected a dense one "
                "(of an Embedding: sparse=False)"
            )
            raise ValueError(msg)
        return gradient

    def gradient_blocks(self, *, memory: int) -> Iterator[tuple[int, Tensor]]:  # noqa: ARG002 - it is there in full
        """Yield a copy of the weight's gradient in one block."""
        gradient = self.gradient()
        if gradient is not None:
            yield 0, gradient.detach().reshape(len(gradient), -1).clone()

    def regrow(self, drop: Tensor, grow: Tensor, optimizer: Optimizer) -> None:
        """Move entries; what is dropped and grown in one call keeps its value and state."""
        new = self.mask().flatten().clone()
        new[self.positions()[drop].to(new.device)] = False
        new[grow.to(new.device)] = True
        self.exchange(new.view(self._mask.shape), optimizer)

    def exchange(self, mask: Tensor, optimizer: Optimizer) -> None:
        """Take another mask; what is in both keeps its value and state, all else is zero."""
        both = self.replace_mask(mask, optimizer)
        write_zeros([self.parameter], both)

    def moved(self, count: int) -> Tensor | None:
        """Return the mask after the `count` smallest left for the largest gradients; sharded only.

        None where the weight had no part in this step. A collective.
        """
        from sparsecore.pruning.sharded_masks import moved_mask

        gradient = self.gradient()
        if gradient is None or not count:
            return None
        kept, parameter = self._entries, self.parameter
        return moved_mask(self._name, parameter, self._mask, gradient, count=count, kept=kept)

    def replace_mask(self, mask: Tensor, optimizer: Optimizer) -> Tensor:
        """Take another mask; clear the optimizer state of all but the entries of both.

        Returns
        -------
        Tensor of bool
            The entries of both.
        """
        both = self.mask() & mask
        self._mask, self._entries = mask, count_kept(mask)
        write_zeros(states_like(self.parameter, optimizer), both)
        return both

    def load_mask(self, mask: Tensor) -> None:
        """Take another mask, as a state has it, and change nothing else."""
        mask = placed_like(mask, self._mask)
        self._mask, self._entries = mask.clone(), count_kept(mask)

    def confine_gradient(self) -> None:
        """Write zeros into the gradient outside of the mask."""
        gradient = self.gradient()
        if gradient is not None:
            write_zeros([gradient], self.mask())

    def enforce(self, optimizer: Optimizer) -> None:
        """Write zeros outside of the mask: into the weight and the state of its shape."""
        weight = self.parameter
        write_zeros([weight, *states_like(weight, optimizer)], self.mask())
