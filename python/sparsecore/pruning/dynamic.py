"""SET and RigL: sparse training whose patterns change, of CSR layers or of masked dense weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparsecore.nn.positions import random_outside
from sparsecore.pruning._numbers import is_positive_integer
from sparsecore.pruning.generators import seeded_generator
from sparsecore.pruning.growth import largest_outside
from sparsecore.pruning.mask_updates import MaskUpdates
from sparsecore.pruning.sparse_weight import SparseWeight

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
    model, optimizer, total_steps, every, alpha, end, masks
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
        masks: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__(
            model,
            optimizer,
            total_steps=total_steps,
            every=every,
            alpha=alpha,
            end=end,
            masks=masks,
        )
        self._generator = seeded_generator("SET", generator)
        self._attach()

    def _grown(self, name: str, weight: SparseWeight, taken: Tensor, count: int) -> Tensor:  # noqa: ARG002 - any may be drawn
        return random_outside(taken, weight.size, count, generator=self._generator)

    def state_dict(self) -> dict[str, Any]:
        """Return the step, the generator's state and masks; CSR patterns are the model's state."""
        return {**super().state_dict(), "generator": self._generator.get_state()}

    def _resume(self, state: Mapping[str, Any]) -> None:
        self._generator.set_state(state["generator"])


class RigL(MaskUpdates):
    """The rigged lottery: the smallest entries move to where the dense gradient is largest.

    Every `every` steps of the optimizer a mask update takes the place of the step: in each layer
    the ``alpha / 2 * (1 + cos(pi t / T_end))`` of its entries with the smallest magnitudes leave,
    and as many come, where the gradient of the dense weight has the largest magnitudes outside of
    the survivors. They begin as zeros, without optimizer state; an entry that leaves and comes
    back at once keeps its value and state. The gradients of all parameters of the optimizer are
    then None, by which any optimizer of torch's leaves them, and its step counters, as they are.

    Given `masks`, it drives the dense parameters that they name: zeros outside of the masks, at
    once and after each step, in the weights and in optimizer state of their shape. Gradients there
    are set to zero before each step, and rank what comes at mask updates. No hook is in the model,
    so it may be compiled.

    Without, it drives CSR layers, and no dense weight, gradient or moment exists at any time. The
    gradient outside of the pattern is computed for a few rows at a time, at mask updates only; for
    it the layers' inputs and their outputs' gradients of that step are kept until
    ``optimizer.step()``, those of all micro-batches where gradients are accumulated.

    Parameters
    ----------
    model : torch.nn.Module
        Its `CSRLinear` and `CSRConv2d` layers take part, or what `masks` names; all else trains as
        it is. Make sparse layers by `sparsecore.nn.sparse_init_` or `sparsecore.nn.sparsify_`.
    optimizer : torch.optim.Optimizer
        Must hold each of these parameters that requires a gradient. Call its ``step()`` as always,
        without a closure.
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
        times. Of CSR layers only.
    masks : mapping of str to bool Tensor, optional
        True = entry, by parameter name, as `prune` returns them; copied. A frozen parameter keeps
        its mask. A shared one is named once.

    Raises
    ------
    TypeError
        `model`, `optimizer` or a generator is of another kind; `masks` is no mapping of bool
        tensors. A driver that is copied or pickled.
    ValueError
        An argument out of range; no CSR layer that trains, or one that is prepared or fused; a name
        or shape in `masks` that is no parameter's; a parameter that the optimizer lacks, or that
        another driver or pruner on it works on. In a step: a value or gradient that is NaN (the
        model is then unchanged), or a closure.
    RuntimeError
        In a mask update: a CSR layer with a gradient whose forward was not seen (a compiled model
        does not call hooks that come later), or whose input was edited in between; where
        torch.distributed is initialised: ranks whose masks differ, then also at the construction.

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

    _ranks_gradients = True
    _takes_shards = True

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
        masks: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__(
            model,
            optimizer,
            total_steps=total_steps,
            every=every,
            alpha=alpha,
            end=end,
            masks=masks,
        )
        if not is_positive_integer(memory):
            msg = f"RigL: memory is {memory!r}, expected bytes, an integer of at least 1"
            raise ValueError(msg)
        self._memory = memory
        self._attach()
        self._watch()

    def _watch(self, *, stop: bool = False) -> None:
        """Have the weights ready in the steps that end in a mask update."""
        due = not stop and self.updates_at(self._step + 1)
        for weight in self._sparse.values():
            weight.watch(due=due)

    def _after(self) -> None:
        super()._after()
        self._watch()

    def _grown(self, name: str, weight: SparseWeight, taken: Tensor, count: int) -> Tensor | None:
        if weight.parameter.grad is None:
            return None  # it had no part in this step
        blocks = weight.gradient_blocks(memory=self._memory)
        return largest_outside(blocks, taken, count, name=f"RigL: the gradient of {name}").cpu()

    def remove(self) -> None:
        """Detach from the optimizer and the layers, which stay as they are. Safe to repeat."""
        super().remove()
        self._watch(stop=True)

    def _resume(self, state: Mapping[str, Any]) -> None:  # noqa: ARG002 - the step is there now
        self._watch()
