"""Top-KAST: the largest entries run, a larger set learns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparsecore.nn import regrow_
from sparsecore.nn.csr_layer import CSRLayer
from sparsecore.nn.positions import flat_positions, random_outside
from sparsecore.pruning._arrays import checked_scores, top_of_rows
from sparsecore.pruning.growth import smallest
from sparsecore.pruning.step_hooks import StepHooks

__all__ = ["TopKAST"]


class TopKAST(StepHooks):
    """Top-KAST on stored entries: A, the largest, are in the forward pass; all, B, are trained.

    The entries that a layer stores are the set B. Between steps its `values` are those of the
    forward pass: zeros at B minus A, whose own numbers the driver keeps. The gradient is that of
    the loss at A; kernels compute it at every stored entry, and the optimizer applies it to B. A is
    taken anew after each step: in each layer the `active` share of B with the largest magnitudes.
    The penalty adds the gradient of ``penalty * (sum |w| over A + sum |w| / D over B minus A)``
    before each step, D being the density of A in the layer.

    It differs from the paper in one thing. There a dense weight is kept, B is its largest part, and
    what leaves B waits with its value until it is large again. Here a weight outside of B does
    not exist, so it can neither wait nor come back with a value. Instead B explores: every `every`
    steps the `explore` share of B minus A with the smallest magnitudes leaves for good, and as many
    come at random places outside of B, as zeros without optimizer state.

    Parameters
    ----------
    model, optimizer
        As in `RigL`.
    active : float
        The share of each layer's entries that is in the forward pass, in (0, 1]. At least one is.
    penalty : float
        Strength of the exploration penalty, at least 0.
    every : int
        Steps from one exploration to the next.
    explore : float
        Share of B minus A that is exchanged, in [0, 1].
    generator : torch.Generator, optional
        Draws the new places; its state is part of ``state_dict()``. Without it one is made, with
        seed 0.

    Raises
    ------
    ValueError
        An argument out of range; layers as in `RigL`. In a step: a value that is NaN, or a closure.

    Notes
    -----
    Memory beside B's values, gradients and optimizer state: a bool for each entry, and the values
    of B minus A. After ``remove()`` layers store A's values, and zeros for the rest of B. Resume as
    with `RigL`.

    References
    ----------
    Jayakumar et al., "Top-KAST: Top-K Always Sparse Training", NeurIPS 2020, sections 2.1 to 2.3.

    Examples
    --------
    >>> import sparsecore as sc
    >>> net = torch.nn
    >>> model = net.Sequential(net.Linear(64, 32), net.ReLU(), net.Linear(32, 4))
    >>> counts = sc.nn.sparse_init_(model, 0.8, allocation=sc.pruning.allocation.uniform)
    >>> optimizer = torch.optim.Adam(model.parameters())
    >>> dst = TopKAST(model, optimizer, active=0.5, penalty=1e-4, every=5)
    >>> for _ in range(20):
    ...     optimizer.zero_grad()
    ...     model(torch.randn(8, 64)).square().mean().backward()
    ...     optimizer.step()
    >>> dst.nnz() == counts, int(model[0].values.count_nonzero()), counts["0"]
    (True, 204, 409)
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        active: float = 0.5,
        penalty: float = 1e-4,
        every: int = 100,
        explore: float = 0.3,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(model, optimizer)
        _check(active, penalty, every, explore)
        self._share, self._penalty = active, penalty
        self._every, self._explore = every, explore
        self._generator = generator or torch.Generator().manual_seed(0)
        self._active: dict[str, Tensor] = {}
        # B minus A's own values; empty while all of B's are in the layers.
        self._resting: dict[str, Tensor] = {}
        self._rest()
        self._attach()

    def active(self) -> dict[str, int]:
        """Return how many entries of each layer are in the forward pass."""
        return {name: int(mask.sum()) for name, mask in self._active.items()}

    # ---- around a step ----

    def _before(self, step: int) -> None:  # noqa: ARG002 - every step is alike here
        self._wake()
        for name, layer in self._layers.items():
            if self._penalty and layer.values.grad is not None:
                layer.values.grad.add_(self._penalty_gradient(name, layer))

    def _penalty_gradient(self, name: str, layer: CSRLayer) -> Tensor:
        active, values = self._active[name], layer.values.detach()
        size = math.prod(layer._weight_shape())
        weight = torch.where(active, 1.0, size / int(active.sum())).to(values.dtype)
        gradient = weight.mul_(values.sign()).mul_(self._penalty)
        # Fused optimizers get gradients that are still scaled.
        scale = getattr(self._optimizer, "grad_scale", None)
        return gradient if scale is None else gradient.mul_(scale)

    def _after(self) -> None:
        if self._step % self._every == 0:
            self._move()
        self._rest()

    def _move(self) -> None:
        """Exchange the smallest of B minus A for random places."""
        moves = {name: self._exchanged(name, layer) for name, layer in self._layers.items()}
        for name, (drop, grow) in moves.items():
            regrow_(self._layers[name], drop=drop, grow=grow, optimizer=self._optimizer)

    def _exchanged(self, name: str, layer: CSRLayer) -> tuple[Tensor, Tensor]:
        nnz, size = layer.values.numel(), math.prod(layer._weight_shape())
        count = math.floor(self._explore * (nnz - self._count(nnz)))
        count = min(count, size - nnz)
        drop = smallest(layer.values.detach(), count, name=f"TopKAST: values of {name}")
        flat = flat_positions(layer.indices, layer.indptr, layer._weight_shape()[1])
        return drop, random_outside(flat, size, count, generator=self._generator)

    def _count(self, nnz: int) -> int:
        return min(nnz, max(1, round(self._share * nnz)))

    @torch.no_grad()
    def _rest(self) -> None:
        """Take A anew; keep the values of the rest of B here, and zeros in the layers."""
        for name, layer in self._layers.items():
            scores = checked_scores(layer.values.abs(), name=f"TopKAST: values of {name}")
            active = top_of_rows(scores[None], self._count(len(scores)))[0]
            self._active[name], self._resting[name] = active, layer.values[~active]
            layer.values.masked_fill_(~active, 0)

    @torch.no_grad()
    def _wake(self) -> None:
        """Put the values of B minus A back into the layers."""
        for name, own in self._resting.items():
            self._layers[name].values[~self._active[name]] = own
        self._resting = {}

    # ---- state ----

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the step, the sets, the values of B minus A, the generator's state."""
        return {
            "step": self._step,
            "active": {name: mask.clone() for name, mask in self._active.items()},
            "resting": {name: own.clone() for name, own in self._resting.items()},
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned, after the model's and optimizer's states.

        Raises
        ------
        ValueError
            The state is for layers of other names or numbers of entries; nothing has changed then.
        """
        found = {name: len(mask) for name, mask in state["active"].items()}
        if found != self.nnz():
            msg = f"TopKAST.load_state_dict: entries are {found}, this model has {self.nnz()}"
            raise ValueError(msg)
        self._active = {name: mask.clone() for name, mask in state["active"].items()}
        self._resting = {name: own.clone() for name, own in state["resting"].items()}
        self._generator.set_state(state["generator"])
        self._step = int(state["step"])

    def __repr__(self) -> str:
        """Describe the driver in one line."""
        stored, active = sum(self.nnz().values()), sum(self.active().values())
        return (
            f"TopKAST({len(self._layers)} layers, {active} of {stored} entries in the forward "
            f"pass, step {self._step})"
        )


def _check(active: float, penalty: float, every: int, explore: float) -> None:
    wrong = {
        f"active is {active!r}, expected above 0 and at most 1": not 0 < active <= 1,
        f"penalty is {penalty!r}, expected at least 0": not 0 <= penalty < math.inf,
        f"every is {every!r}, expected an integer of at least 1": isinstance(every, bool)
        or not isinstance(every, int)
        or every < 1,
        f"explore is {explore!r}, expected 0 to 1": not 0 <= explore <= 1,
    }
    for message, is_wrong in wrong.items():
        if is_wrong:
            msg = f"TopKAST: {message}"
            raise ValueError(msg)
