"""The sparse weight of a CSR layer, whose nonzeros alone exist."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.optim import Optimizer

from sparsecore.nn import regrow_
from sparsecore.nn.csr_layer import CSRLayer
from sparsecore.nn.positions import flat_positions
from sparsecore.pruning.layer_gradients import Tap, gradient_blocks

__all__ = ["CSRWeight"]


class CSRWeight:
    """A `SparseWeight` whose entries are those that a layer stores: see there for the methods."""

    def __init__(self, caller: str, name: str, layer: CSRLayer) -> None:
        self._caller, self._name = caller, name
        self._layer = layer
        self._tap: Tap | None = None

    @property
    def parameter(self) -> Tensor:
        """The stored values."""
        return self._layer.values

    @property
    def trains(self) -> bool:
        """Whether the values require a gradient now."""
        return self._layer.values.requires_grad

    @property
    def size(self) -> int:
        """The number of positions of the weight, stored or not."""
        return math.prod(self._layer._weight_shape())

    @property
    def entries(self) -> int:
        """The number of stored entries."""
        return self._layer.values.numel()

    def mask(self) -> Tensor:
        """Return where the entries are, (rows, columns) bool: made anew at each call."""
        mask = torch.zeros(self.size, dtype=torch.bool)
        mask[self.positions()] = True
        return mask.view(self._layer._weight_shape())

    def outside(self) -> None:
        """Return None: all values are entries."""
        return

    def values(self) -> Tensor:
        """Return the stored values, without a graph."""
        return self._layer.values.detach()

    def positions(self) -> Tensor:
        """Return ``row * columns + column`` of each entry."""
        layer = self._layer
        return flat_positions(layer.indices, layer.indptr, layer._weight_shape()[1])

    def watch(self, *, due: bool) -> None:
        """Keep what the layer sees in the step that is due, or nothing."""
        if self._tap is not None:
            self._tap.close()
        self._tap = Tap(self._layer) if due else None

    def gradient(self) -> Tensor | None:
        """Return the gradient of the stored values."""
        return self._layer.values.grad

    def gradient_blocks(self, *, memory: int) -> Iterator[tuple[int, Tensor]]:
        """Return the dense gradient of what was seen; RuntimeError where that was nothing."""
        pairs = [] if self._tap is None else self._tap.take()
        if not pairs:
            msg = (
                f"{self._caller}: layer {self._name!r} has a gradient, but its forward was not "
                "seen: call the model itself, not compiled, in the steps that end in a mask update"
            )
            raise RuntimeError(msg)
        return gradient_blocks(self._layer, pairs, memory=memory)

    def regrow(self, drop: Tensor, grow: Tensor, optimizer: Optimizer) -> None:
        """Move entries in the layer's structure."""
        regrow_(self._layer, drop=drop, grow=grow, optimizer=optimizer)

    def confine_gradient(self) -> None:
        """Do nothing: there is no other gradient."""

    def enforce(self, optimizer: Optimizer) -> None:
        """Do nothing: there is nothing outside."""
