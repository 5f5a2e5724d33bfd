"""What pruning asks of a torch model and its optimizer, before anything changes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

__all__ = ["check_free", "check_held", "check_model", "check_values", "check_writable"]


def check_model(caller: str, model: object) -> None:
    """Raise TypeError unless it is a module."""
    if not isinstance(model, nn.Module):
        kind = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
        msg = f"{caller}: model is {kind}, expected a torch.nn.Module"
        raise TypeError(msg)


def check_values(caller: str, weights: Mapping[str, Tensor]) -> None:
    """Raise ValueError where a weight has no values yet."""
    for name, weight in weights.items():
        if is_lazy(weight):
            msg = f"{caller}: {name} has no shape yet: call the model once before"
            raise ValueError(msg)
        if weight.is_meta:
            msg = f"{caller}: {name} is on the meta device, where it has no values: load it before"
            raise ValueError(msg)


def check_writable(caller: str, weights: Mapping[str, Tensor]) -> None:
    """Raise ValueError where zeros cannot be written to a weight, or would be another's, too."""
    owners: dict[int, str] = {}
    for name, weight in weights.items():
        reason = None
        if weight.is_inference() and not torch.is_inference_mode_enabled():
            reason = "it was made in inference mode, where alone it can be written to"
        # Of other types, such as DTensor, memory is not to be asked for.
        elif type(weight) is nn.Parameter and weight.numel():
            other = owners.setdefault(weight.data_ptr(), name)
            if other != name:
                reason = f"it has the memory of {other}, but would have another mask"
            elif _repeats(weight):
                reason = "several of its entries are one number in memory (an expanded view)"
        if reason is not None:
            msg = f"{caller}: {name} cannot be pruned: {reason}; leave it out by where="
            raise ValueError(msg)


def _repeats(weight: Tensor) -> bool:
    lengths = zip(weight.stride(), weight.shape, strict=True)
    return any(stride == 0 and length > 1 for stride, length in lengths)


def check_held(weights: Mapping[str, Tensor], optimizer: Optimizer) -> None:
    """Raise unless it is an optimizer, whose steps keep the masks in force, of every weight.

    Raises
    ------
    TypeError
        `optimizer` is none.
    ValueError
        It lacks a weight.
    """
    if not isinstance(optimizer, Optimizer):
        kind = type(optimizer).__name__
        msg = f"Pruner: optimizer is {optimizer!r}, a {kind}, expected a torch.optim.Optimizer"
        raise TypeError(msg)
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    missing = [name for name, weight in weights.items() if id(weight) not in held]
    if missing:
        msg = (
            f"Pruner: optimizer does not hold {', '.join(missing)}; expected every pruned weight "
            "in its parameter groups (narrow the selection by where=)"
        )
        raise ValueError(msg)


def check_free(weights: Mapping[str, Tensor], claimed: Mapping[int, str]) -> None:
    """Raise ValueError if a weight is among those, by id, that others on its optimizer work on."""
    taken = {name: claimed[id(w)] for name, w in weights.items() if id(w) in claimed}
    if taken:
        owners = ", ".join(f"{name} ({owner})" for name, owner in taken.items())
        msg = (
            f"Pruner: already pruned by another on this optimizer: {owners}; expected one at a "
            "time: call remove() of the other first"
        )
        raise ValueError(msg)
