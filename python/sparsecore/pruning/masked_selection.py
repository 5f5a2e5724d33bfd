"""The dense parameters that masks= names for dynamic sparse training."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from sparsecore.pruning.claims import claimed
from sparsecore.pruning.masked_weight import MaskedWeight
from sparsecore.pruning.wrapped_models import is_sharded, reshard

__all__ = ["masked_weights"]


def masked_weights(
    caller: str, model: nn.Module, optimizer: Optimizer, masks: Mapping[str, Tensor]
) -> dict[str, MaskedWeight]:
    """Return the masked weights by name; the model stays as it is.

    Raises
    ------
    TypeError
        `masks` is no mapping of names to bool tensors.
    ValueError
        It is empty; a name is that of no parameter; a mask has another shape than its parameter; a
        parameter is not floating, or comes twice; the optimizer lacks one that trains; or another
        driver or pruner on this optimizer works on one.
    """
    if not isinstance(masks, Mapping):
        found = type(masks).__name__
        msg = f"{caller}: masks is {found}, expected a mapping of parameter names to bool tensors"
        raise TypeError(msg)
    if not masks:
        msg = f"{caller}: masks is empty, expected the mask of one parameter at least"
        raise ValueError(msg)
    reshard(model)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    taken, names = claimed(optimizer), dict[int, str]()
    for name, mask in masks.items():
        if name not in parameters:
            raise ValueError(_unknown(caller, name, list(parameters)))
        weight = parameters[name]
        _check_mask(caller, name, mask, weight)
        reason = None
        if id(weight) in names:
            reason = f"it is the same parameter as {names[id(weight)]!r}: give one mask"
        elif id(weight) in taken:
            reason = (
                f"another driver on this optimizer, a {taken[id(weight)]}, works on it: call "
                "remove() of that one first"
            )
        elif weight.requires_grad and id(weight) not in held:
            reason = "the optimizer does not hold it"
        if reason is not None:
            msg = f"{caller}: masks: {name!r}: {reason}"
            raise ValueError(msg)
        names[id(weight)] = name
    return {name: _masked(model, name, mask, parameters[name]) for name, mask in masks.items()}


def _masked(model: nn.Module, name: str, mask: Tensor, weight: Tensor) -> MaskedWeight:
    if is_sharded(weight):
        from sparsecore.pruning.sharded_masks import sharded_mask

        mask = sharded_mask(mask, weight)
    return MaskedWeight(model, name, mask.to(weight.device))


def _unknown(caller: str, name: object, parameters: list[str]) -> str:
    close = difflib.get_close_matches(str(name), parameters, n=3) or parameters[:3]
    return (
        f"{caller}: masks has {name!r}, which is no parameter of the model; it has "
        f"{len(parameters)}, such as {', '.join(close)}"
    )


def _check_mask(caller: str, name: str, mask: object, weight: Tensor) -> None:
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        found = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        msg = f"{caller}: masks: {name!r} is {found}, expected a tensor of torch.bool"
        raise TypeError(msg)
    if weight.is_meta or mask.is_meta:
        msg = f"{caller}: masks: {name!r} or its mask is on the meta device, which has no values"
        raise ValueError(msg)
    if is_lazy(weight):
        msg = f"{caller}: masks: {name!r} has no shape yet: call the model once before"
        raise ValueError(msg)
    if not weight.is_floating_point() or not weight.ndim:
        msg = (
            f"{caller}: masks: {name!r} is {weight.ndim}-D of {weight.dtype}, expected a floating "
            "dtype and one dimension at least"
        )
        raise ValueError(msg)
    if mask.shape != weight.shape:
        shapes = tuple(mask.shape), tuple(weight.shape)
        msg = f"{caller}: masks: {name!r} has shape {shapes[0]}, the parameter {shapes[1]}"
        raise ValueError(msg)
