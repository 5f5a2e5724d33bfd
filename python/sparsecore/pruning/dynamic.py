"""SET and RigL: sparse training whose patterns change, on layers that store nonzeros only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparsecore.nn.positions import random_outside
from sparsecore.pruning.growth import largest_outside
from sparsecore.pruning.layer_gradients import Tap, gradient_blocks
from sparsecore.pruning.mask_updates import MaskUpdates

__all__ = ["SET", "RigL"]

_MEMORY = 2**22


class SET(MaskUpdates):
    """Sparse evolutionary training: the smallest entries move to random places.

    As :class:`RigL` in all but the growth: new places are drawn among those outside of the
    survivors, each choice as likely. (So a dropped entry may stay. The paper drops a constant
    fraction, the smallest positive and the largest negative ones; here magnitudes decide, and the
    fraction decays as RigL's, as in the comparison of the RigL paper.)

    Parameters
    ----------
    model, optimizer, total_steps, every, alpha, end
        As in :class:`RigL`.
    generator : torch.Generator, optional
        Draws the places; its state is part of ``state_dict()``. Without it one is made, with seed
        0.

    References
    ----------
    Mocanu et al., "Scalable training of artificial neural networks with adaptive sparse
    connectivity inspired by network science", Nature Communications 2018.

    Examples
    --------
    >>> import sparsecore as sc
    >>> net = torch.nn
    >>> model = net.Sequential(net.Linear(64, 32), net.ReLU(), net.Linear(32, 4))
    >>> counts = sc.nn.sparse_init_(model, 0.9)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    >>> dst = SET(model, optimizer, total_steps=40, every=5)
    >>> for _ in range(40):
    ...     optimizer.zero_grad()
    ...     model(torch.randn(8, 64)).square().mean().backward()
    ...     optimizer.step()
    >>> dst.nnz() == counts
    True
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        total_steps: int,
        every: int = 100,
        alpha: float = 0.3,
        end: float = 0.75,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(
            model, optimizer, total_steps=total_steps, every=every, alpha=alpha, end=end
        )
        self._generator = generator or torch.Generator().manual_seed(0)
        self._attach()

    def _grown(self, name: str, taken: Tensor, count: int) -> Tensor:
        size = math.prod(self._layers[name]._weight_shape())
        return random_outside(taken, size, count, generator=self._generator)

    def state_dict(self) -> dict[str, Any]:
        """Return the step and the generator's state; the patterns are in the model's state."""
        return {"step": self._step, "generator": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned, after the model's and optimizer's states."""
        self._generator.set_state(state["generator"])
        self._step = int(state["step"])


class RigL(MaskUpdates):
    """The rigged lottery: the smallest entries move to where the dense gradient is largest.

    Every `every` steps of the optimizer a mask update takes the place of the step: in each layer
    the ``alpha / 2 * (1 + cos(pi t / T_end))`` of its entries with the smallest magnitudes leave,
    and as many come, where the gradient of the dense weight has the largest magnitudes outside of
    the survivors. They begin as zeros, without optimizer state; an entry that leaves and comes
    back at once keeps its value and state. The gradients of all parameters of the optimizer are
    then None, by which any optimizer of torch's leaves them, and its step counters, as they are.

    No dense weight, gradient or moment exists at any time. The gradient outside of the pattern is
    computed for a few rows at a time, at mask updates only; for it the layers' inputs and their
    outputs' gradients of that step are kept until ``optimizer.step()``, those of all micro-batches
    where gradients are accumulated, so that it is exact.

    Parameters
    ----------
    model : torch.nn.Module
        Its `CSRLinear` and `CSRConv2d` layers take part; dense layers train as they are. Make
        sparse layers by `sparsecore.nn.sparse_init_` or `sparsecore.nn.sparsify_`.
    optimizer : torch.optim.Optimizer
        Must hold the `values` of each CSR layer that requires a gradient. Call its ``step()`` as
        always, without a closure.
    total_steps : int
        Steps of the whole training.
    every : int
        Steps from one mask update to the next.
    alpha : float
        Fraction dropped at step 0, in [0, 1].
    end : float
        Part of `total_steps` after which the patterns stay, in [0, 1].
    memory : int
        Bytes that the search for the largest gradients may take, roughly: half of it for a block
        of rows, for convolutions as much again for unfolded images, and never less than one row
        and one image. Positions and values of the new entries come on top, 12 bytes each, several
        times.

    Raises
    ------
    ValueError
        An argument out of range; no CSR layer that trains, or one that the optimizer lacks, that
        is prepared for running, fused or driven by another driver. In a step: a value or gradient
        that is NaN (the model is then unchanged), or a closure.
    RuntimeError
        In a mask update: a layer with a gradient whose forward was not seen (a compiled model does
        not call hooks that come later), or whose input was edited in between.

    Notes
    -----
    Steps that a ``GradScaler`` skips are not counted, and their gradients forgotten. To resume,
    build model, optimizer and driver as in the first run and load their states in this order: it
    continues bit for bit. Of equal magnitudes the lower positions win.

    References
    ----------
    Evci et al., "Rigging the Lottery: Making All Tickets Winners", ICML 2020, section 3.

    Examples
    --------
    >>> import sparsecore as sc
    >>> net = torch.nn
    >>> model = net.Sequential(net.Linear(64, 32), net.ReLU(), net.Linear(32, 4))
    >>> counts = sc.nn.sparse_init_(model, 0.9)
    >>> optimizer = torch.optim.Adam(model.parameters())
    >>> dst = RigL(model, optimizer, total_steps=40, every=5)
    >>> for _ in range(40):
    ...     optimizer.zero_grad()
    ...     model(torch.randn(8, 64)).square().mean().backward()
    ...     optimizer.step()
    >>> dst.nnz() == counts, dst
    (True, RigL(2 layers, 218 entries, step 40, a mask update every 5 steps before 30))
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        total_steps: int,
        every: int = 100,
        alpha: float = 0.3,
        end: float = 0.75,
        memory: int = _MEMORY,
    ) -> None:
        super().__init__(
            model, optimizer, total_steps=total_steps, every=every, alpha=alpha, end=end
        )
        self._memory = memory
        self._taps: dict[str, Tap] = {}
        self._attach()
        self._after()

    def _after(self) -> None:
        """Watch the layers in the steps that end in a mask update."""
        for tap in self._taps.values():
            tap.close()
        due = self.updates_at(self._step + 1)
        self._taps = {name: Tap(layer) for name, layer in self._layers.items()} if due else {}

    def _grown(self, name: str, taken: Tensor, count: int) -> Tensor | None:
        layer = self._layers[name]
        if layer.values.grad is None:
            return None  # it had no part in this step
        pairs = self._taps[name].take()
        if not pairs:
            msg = (
                f"RigL: layer {name!r} has a gradient, but its forward was not seen: call the "
                "model itself, not compiled, in the steps that end in a mask update"
            )
            raise RuntimeError(msg)
        blocks = gradient_blocks(layer, pairs, memory=self._memory)
        return largest_outside(blocks, taken, count, name=f"RigL: the gradient of {name}")

    def remove(self) -> None:
        """Detach from the optimizer and the layers, which stay as they are. Safe to repeat."""
        super().remove()
        for tap in self._taps.values():
            tap.close()

    def state_dict(self) -> dict[str, Any]:
        """Return the step; the patterns are in the model's state."""
        return {"step": self._step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned, after the model's and optimizer's states."""
        self._step = int(state["step"])
        self._after()
