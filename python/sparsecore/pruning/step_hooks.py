"""What the drivers of sparse training share: their place around an optimizer's step."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType, TracebackType
from typing import Any, Self

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from sparsecore.pruning.driver_states import checked_tensors
from sparsecore.pruning.drivers import NotCopied
from sparsecore.pruning.masked_selection import masked_weights
from sparsecore.pruning.masked_weight import MaskedWeight
from sparsecore.pruning.masks_in_force import overflowed
from sparsecore.pruning.ranks import check_same_on_ranks, is_distributed
from sparsecore.pruning.sparse_layers import csr_weights
from sparsecore.pruning.sparse_weight import SparseWeight
from sparsecore.pruning.wrapped_models import module_of

__all__ = ["StepHooks"]


class StepHooks(NotCopied):
    """Runs before and after each step of an optimizer that is really taken, and counts them.

    Inheritance, where functions would do elsewhere: what the drivers share is when they are called.
    """

    # Whether masks of DTensors are possible.
    _takes_shards = False

    def __init__(
        self, model: nn.Module, optimizer: Optimizer, masks: Mapping[str, Tensor] | None
    ) -> None:
        caller = type(self).__name__
        for name, value, kind in (("model", model, nn.Module), ("optimizer", optimizer, Optimizer)):
            if not isinstance(value, kind):
                found = type(value).__name__
                msg = f"{caller}: {name} is {found}, expected a torch {kind.__name__}"
                raise TypeError(msg)
        # The ranks that train one model; all where there is no wrapper to know them.
        self._group = model.process_group if isinstance(model, DistributedDataParallel) else None
        self._sparse: Mapping[str, SparseWeight]
        # Those of them whose masks are the driver's own.
        self._masked: Mapping[str, MaskedWeight] = {}
        if masks is None:
            self._sparse, self._kind = csr_weights(caller, model, optimizer), "layers"
        else:
            if isinstance(masks, Mapping):
                model = module_of(model, masks)
            self._sparse = self._masked = masked_weights(caller, model, optimizer, masks)
            self._kind = "masked weights"
            if self._sharded() and not self._takes_shards:
                msg = (
                    f"{caller}: {', '.join(self._sharded())} sharded over ranks, and whole "
                    f"weights are what {caller} ranks; under fully_shard use RigL, or Pruner"
                )
                raise ValueError(msg)
        self._optimizer = optimizer
        self._step = 0

    def _attach(self) -> None:
        """Begin: the last thing that a constructor does before it edits weights."""
        # Of sharded weights each rank has masks of its own, which are cut from one.
        whole = {n: w for n, w in self._sparse.items() if n not in self._sharded()}
        if whole and is_distributed():
            positions = {name: weight.positions() for name, weight in whole.items()}
            check_same_on_ranks(type(self).__name__, positions, group=self._group)
        self._hooks = [
            self._optimizer.register_step_pre_hook(self._before_step),
            self._optimizer.register_step_post_hook(self._after_step),
        ]

    def _before(self, step: int) -> None:
        """Act before the optimizer's step of this number, counted from 1."""
        raise NotImplementedError

    def _after(self) -> None:
        """Act after it; ``self._step`` is its number."""
        raise NotImplementedError

    @property
    def step(self) -> int:
        """Optimizer steps since the driver was made, mask updates among them."""
        return self._step

    @property
    def masks(self) -> Mapping[str, Tensor]:
        """The mask of each weight, True = entry, by the name of the parameter or CSR layer.

        Of CSR layers (rows, columns), made anew from their structure. What was read before a mask
        update stays as it was; an edit of the mapping is refused, and of its tensors not allowed.
        """
        return MappingProxyType({name: weight.mask() for name, weight in self._sparse.items()})

    def nnz(self) -> dict[str, int]:
        """Return the number of entries of each weight."""
        return {name: weight.entries for name, weight in self._sparse.items()}

    def remove(self) -> None:
        """Detach from the optimizer and the layers, which stay as they are. Safe to repeat."""
        for hook in self._hooks:
            hook.remove()

    def __enter__(self) -> Self:
        """Return the driver; leaving the block removes it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Detach from the optimizer and the layers."""
        self.remove()

    def _sharded(self) -> dict[str, MaskedWeight]:
        """Return the weights that are DTensors."""
        return {name: weight for name, weight in self._masked.items() if weight.is_sharded}

    def _weights(self) -> dict[str, Tensor]:
        """Return what is driven here, for `claims`."""
        return {name: weight.parameter for name, weight in self._sparse.items()}

    def _own_masks(self) -> dict[str, Tensor]:
        """Return copies of the masks that are in no other state."""
        return {name: weight.mask().clone() for name, weight in self._masked.items()}

    def _check_masks(self, state: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the masks of a state on the devices of the weights; ValueError if for others."""
        found = state.get("masks", {})
        return checked_tensors(type(self).__name__, "masks", found, self._own_masks())

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        # The hook's arguments begin with the optimizer itself.
        if kwargs.get("closure") is not None or any(map(callable, args[1:])):
            msg = (
                f"{type(self).__name__}: optimizer.step got a closure, which computes gradients "
                "inside of the step; expected them there before it"
            )
            raise ValueError(msg)
        if not overflowed(optimizer):
            self._before(self._step + 1)
            self._step += 1

    def _after_step(self, optimizer: Optimizer, *_: Any) -> None:
        if not overflowed(optimizer):
            self._after()
