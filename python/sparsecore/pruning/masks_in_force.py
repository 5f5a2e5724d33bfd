"""Masks in force: zeros in weights and in the optimizer's numbers for them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim import Optimizer

from sparsecore.pruning.zeroing import write_zeros

__all__ = ["apply_masks", "check_masks", "overflowed", "states_like"]


def apply_masks(
    weights: Mapping[str, Tensor], masks: Mapping[str, Tensor], optimizer: Optimizer
) -> None:
    """Write zeros at the pruned positions of weights and of optimizer states of their shapes."""
    for name, weight in weights.items():
        write_zeros([weight, *states_like(weight, optimizer)], masks[name])


def states_like(weight: Tensor, optimizer: Optimizer) -> list[Tensor]:
    """Return what an optimizer keeps for each element of a weight, such as momentum."""
    states = optimizer.state.get(weight, {}).values()
    return [s for s in states if isinstance(s, Tensor) and s.shape == weight.shape]


def overflowed(optimizer: Optimizer) -> bool:
    """Return whether a ``GradScaler`` makes a step in progress one that changes nothing.

    It does not call ``step()`` after an overflow, so no hook runs; fused optimizers it does call,
    with the overflow flag set for the time of the call.
    """
    found = getattr(optimizer, "found_inf", None)
    return found is not None and bool(found)


def check_masks(caller: str, masks: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    """Raise TypeError or ValueError where masks by name do not fit the weights of a model."""
    if not isinstance(masks, Mapping):
        found = type(masks).__name__
        msg = f"{caller}: masks is {found}, expected a mapping of parameter names to bool tensors"
        raise TypeError(msg)
    for name, mask in masks.items():
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
            found = getattr(mask, "dtype", type(mask).__name__)
            msg = f"{caller}: masks[{name!r}] is {found}, expected a tensor of bool"
            raise TypeError(msg)
        shape = tuple(weights[name].shape) if name in weights else None
        if tuple(mask.shape) != shape:
            has = "no such weight" if shape is None else f"shape {shape}"
            msg = f"{caller}: masks[{name!r}] has shape {tuple(mask.shape)}, the model has {has}"
            raise ValueError(msg)
