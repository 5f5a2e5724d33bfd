"""What the drivers of sparse training share: their place around an optimizer's step."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from torch import nn
from torch.optim import Optimizer

from sparsecore.pruning.sparse_layers import sparse_layers

__all__ = ["StepHooks"]


class StepHooks:
    """Runs before and after each step of an optimizer that is really taken, and counts them.

    Inheritance, where functions would do elsewhere: what the drivers share is when they are called.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer) -> None:
        self._layers = sparse_layers(type(self).__name__, model, optimizer)
        self._optimizer = optimizer
        self._step = 0

    def _attach(self) -> None:
        """Begin: the last thing that a constructor does."""
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

    def nnz(self) -> dict[str, int]:
        """Return the number of stored entries of each layer."""
        return {name: layer.values.numel() for name, layer in self._layers.items()}

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

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        # The hook's arguments begin with the optimizer itself.
        if kwargs.get("closure") is not None or any(map(callable, args[1:])):
            msg = (
                f"{type(self).__name__}: optimizer.step got a closure, which computes gradients "
                "inside of the step; expected them there before it"
            )
            raise ValueError(msg)
        if not _overflowed(optimizer):
            self._before(self._step + 1)
            self._step += 1

    def _after_step(self, optimizer: Optimizer, *_: Any) -> None:
        if not _overflowed(optimizer):
            self._after()


def _overflowed(optimizer: Optimizer) -> bool:
    # GradScaler does not call step() after an overflow, so no hook runs; fused optimizers it does
    # call, with the overflow flag set for the time of the call.
    found = getattr(optimizer, "found_inf", None)
    return found is not None and bool(found)
