"""Top-KAST: the largest entries run, a larger set learns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparsecore.pruning.driver_states import checked_state, checked_tensors
from sparsecore.pruning.exploration import Exploration, LargestOfDense, RandomExchange
from sparsecore.pruning.forward_set import ForwardSet
from sparsecore.pruning.generators import seeded_generator
from sparsecore.pruning.step_flops import densities, step_flops
from sparsecore.pruning.step_hooks import StepHooks
from sparsecore.pruning.topkast_arguments import check_form, check_numbers

__all__ = ["TopKAST"]

# Of CSR layers: steps between exchanges, and the share of B minus A that is exchanged.
_EVERY, _EXPLORE = 100, 0.3


class TopKAST(StepHooks):
    """Top-KAST: A, the largest entries, are in the forward pass; B, a larger set, is trained.

    Between steps a weight has the numbers of A and zeros elsewhere, so the forward pass sees A
    only, compiled or not; the driver keeps the other numbers, and puts them back around the
    optimizer's step. The gradient is that of the loss at A; the optimizer applies it to B. A is
    taken anew after each step: in each weight the `active` share of B with the largest magnitudes.
    The penalty adds the gradient of ``penalty * (sum |w| over A + sum |w| / D over B minus A)``
    before each step, D being the density of A in the weight.

    Given `masks`, it is the paper's: the named weights are dense, and after each step B is taken
    anew, too: the largest magnitudes of the whole weight, as many as its mask has. What is outside
    of B waits with its value, which nothing changes, and comes back without optimizer state. The
    first B is the mask.

    Without, it drives CSR layers. B are the entries that a layer stores, and a weight outside of B
    does not exist, so it can neither wait nor come back with a value. Instead B explores: every
    `every` steps the `explore` share of B minus A with the smallest magnitudes leaves for good, and
    as many come at random places outside of B, as zeros without optimizer state.

    Parameters
    ----------
    model, optimizer
        As in `RigL`.
    active : float
        The share of B that is in the forward pass, in (0, 1], in each weight. At least one is.
    penalty : float
        Strength of the exploration penalty, at least 0.
    every : int, optional
        Steps from one exploration to the next, of CSR layers; 100 if not given.
    explore : float, optional
        Share of B minus A that is exchanged then, in [0, 1]; 0.3 if not given.
    generator : torch.Generator, optional
        Draws the new places; its state is part of ``state_dict()``. Without it one is made, with
        seed 0.
    masks : mapping of str to bool Tensor, optional
        The first B of dense parameters by name, as in `RigL`; numbers outside are kept, and wait.

    Raises
    ------
    ValueError
        An argument out of range, or one for CSR layers with `masks`; weights as in `RigL`. In a
        step: a value that is NaN, or a closure.
    TypeError
        As in `RigL`.

    Notes
    -----
    Memory beside CSR values, gradients and optimizer state: a bool for each entry, and the values
    of B minus A. Beside dense ones: two bools for each element, and the values outside of A.
    After ``remove()`` weights have A's values, and zeros elsewhere; so has the model's state dict
    at any time. Resume as with `RigL`.

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

    A dense weight, of which 30 elements are trained and 15 in the forward pass:

    >>> layer = net.Linear(10, 10)
    >>> magnitudes = sc.pruning.scores.magnitude({"weight": layer.weight})
    >>> masks = {"weight": sc.pruning.prune_mask(magnitudes["weight"], 30)}
    >>> sgd = torch.optim.SGD(layer.parameters(), lr=0.1)
    >>> TopKAST(layer, sgd, active=0.5, masks=masks), int(layer.weight.count_nonzero())
    (TopKAST(1 masked weights, 15 of 30 entries in the forward pass, step 0), 15)
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        active: float = 0.5,
        penalty: float = 1e-4,
        every: int | None = None,
        explore: float | None = None,
        generator: torch.Generator | None = None,
        masks: Mapping[str, Tensor] | None = None,
    ) -> None:
        check_numbers(active=active, penalty=penalty, every=every, explore=explore)
        check_form(masks, every=every, explore=explore, generator=generator)
        super().__init__(model, optimizer, masks)
        self._penalty = penalty
        self._exploration: Exploration
        if masks is not None:
            self._exploration = LargestOfDense(self._masked)
        else:
            generator = seeded_generator("TopKAST", generator)
            exchanged = _EXPLORE if explore is None else explore
            self._exploration = RandomExchange(every or _EVERY, exchanged, generator)
        self._sets = {name: ForwardSet(name, w, active) for name, w in self._sparse.items()}
        self._attach()
        try:
            self._rest()
        except BaseException:
            self.remove()
            raise

    def active(self) -> dict[str, int]:
        """Return how many entries of each weight are in the forward pass."""
        return {name: own.count for name, own in self._sets.items()}

    def step_flops(self, dense: Mapping[str, float]) -> float:
        """Return the FLOPs of a training step where zeros cost nothing: ``2 f_A + f_B``.

        Parameters
        ----------
        dense : mapping of str to float
            FLOPs of the dense forward pass by names as in ``nnz()``; other names are dense layers.

        Raises
        ------
        ValueError
            If a weight that is driven here is missing.
        """
        counts, sizes = self.active(), {n: w.size for n, w in self._sparse.items()}
        return step_flops(
            "TopKAST.step_flops",
            dense,
            forward=densities(counts, sizes),
            gradient=densities(self.nnz(), sizes),
        )

    # ---- around a step ----

    def _before(self, step: int) -> None:  # noqa: ARG002 - every step is alike here
        # Fused optimizers get gradients that are still scaled.
        scale = getattr(self._optimizer, "grad_scale", None)
        # All gradients first: an error on the way changes nothing.
        gradients = {name: own.weight.gradient() for name, own in self._sets.items()}
        for name, own in self._sets.items():
            own.wake()
            own.penalize(gradients[name], self._penalty, scale)

    def _after(self) -> None:
        self._exploration.after_step(self._step, self._sets, self._optimizer)
        self._rest()

    def _rest(self) -> None:
        # All choices first: what rests is nowhere else, so NaN must be found before that.
        active = {name: own.largest() for name, own in self._sets.items()}
        for name, own in self._sets.items():
            own.rest(active[name])

    # ---- state ----

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the step, the sets, what rests, and the generator's state if any."""
        return {
            "step": self._step,
            "active": {name: own.active.clone() for name, own in self._sets.items()},
            "resting": {name: own.resting.clone() for name, own in self._sets.items()},
            "masks": self._own_masks(),
            **self._exploration.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` returned, after the model's and optimizer's states.

        Raises
        ------
        ValueError
            Something is missing, or the state is for weights of other names, shapes or numbers of
            entries; nothing has changed then.
        TypeError
            The state is no mapping.
        """
        state = checked_state("TopKAST", state, self.state_dict())
        shapes = {
            name: torch.empty(weight.parameter.shape, dtype=torch.bool)
            for name, weight in self._sparse.items()
        }
        active = checked_tensors("TopKAST", "active", state["active"], shapes)
        sizes = {
            name: weight.parameter.new_empty(int((~active[name]).sum()))
            for name, weight in self._sparse.items()
        }
        resting = checked_tensors("TopKAST", "resting", state["resting"], sizes)
        masks = self._check_masks(state)
        self._exploration.load_state_dict(state)
        for name, mask in masks.items():
            self._masked[name].load_mask(mask)
        for name, own in self._sets.items():
            own.active, own.resting = active[name].clone(), resting[name].clone()
        self._step = state["step"]

    def __repr__(self) -> str:
        """Describe the driver in one line."""
        entries, active = sum(self.nnz().values()), sum(self.active().values())
        return (
            f"TopKAST({len(self._sparse)} {self._kind}, {active} of {entries} entries in the "
            f"forward pass, step {self._step})"
        )
