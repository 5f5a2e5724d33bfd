"""Models inside of torch's parallel wrappers: the module whose names count, and its ranks.

``fully_shard`` puts plain parameters in the place of sharded ones while a module runs, and in the
root module until the next backward. So parameters are found by name whenever they are asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

__all__ = [
    "any_sharded",
    "count_kept",
    "current_parameter",
    "is_sharded",
    "module_of",
    "placed_like",
    "reshard",
    "unwrapped",
]


def is_sharded(tensor: object) -> bool:
    """Whether a tensor is a DTensor.

    Examples
    --------
    >>> import torch
    >>> is_sharded(torch.ones(2))
    False
    """
    # Who has one has imported the module; to import it here would take long for nothing.
    return isinstance(tensor, _imported("torch.distributed.tensor", "DTensor"))


def any_sharded(weights: object) -> bool:
    """Whether a mapping has a DTensor among its values."""
    return isinstance(weights, Mapping) and any(map(is_sharded, weights.values()))


def unwrapped(caller: str, model: Any, group: Any) -> tuple[Any, Any]:
    """Return the module whose parameter names count, and the process group of its ranks.

    Parameters
    ----------
    caller : str
        For messages.
    model : torch.nn.Module
        A ``DistributedDataParallel`` is the module inside of it. Modules under ``fully_shard`` get
        their shards back.
    group : ProcessGroup or None
        What the caller was given. Where that is None, the wrapper's own group, or None.

    Raises
    ------
    TypeError
        A ``FullyShardedDataParallel``, whose parameters are cuts through flattened layers.

    Examples
    --------
    >>> layer = nn.Linear(2, 2)
    >>> unwrapped("example", layer, None)
    (Linear(in_features=2, out_features=2, bias=True), None)
    """
    if isinstance(model, DistributedDataParallel):
        own = model.process_group
        return model.module, own if group is None else group
    if isinstance(model, nn.Module):
        flattening = _imported("torch.distributed.fsdp", "FullyShardedDataParallel")
        if any(isinstance(module, flattening) for module in model.modules()):
            msg = (
                f"{caller}: model has a FullyShardedDataParallel, which flattens the weights of "
                "several layers into one; expected fully_shard (FSDP2), DistributedDataParallel or "
                "a module without a wrapper"
            )
            raise TypeError(msg)
        reshard(model)
    return model, group


def module_of(model: nn.Module, names: Iterable[str]) -> nn.Module:
    """Return the module inside of a ``DistributedDataParallel``, unless names are the wrapper's."""
    if not isinstance(model, DistributedDataParallel):
        return model
    own = dict(model.named_parameters(remove_duplicate=False))
    return model if any(name in own for name in names) else model.module


def reshard(model: nn.Module) -> None:
    """Free the gathered parameters that a forward under ``fully_shard`` has left."""
    sharding = _imported("torch.distributed.fsdp", "FSDPModule")
    for module in model.modules() if sharding else ():
        if isinstance(module, sharding):
            module.reshard()


def current_parameter(model: nn.Module, name: str, *, mask: Tensor) -> Tensor:
    """Return a parameter as it is now by its name: sharded, where its mask is.

    Examples
    --------
    >>> layer = nn.Linear(2, 2)
    >>> current_parameter(layer, "weight", mask=layer.weight > 0) is layer.weight
    True
    """
    parameter = model.get_parameter(name)
    if is_sharded(mask) and not is_sharded(parameter):
        reshard(model)
        parameter = model.get_parameter(name)
    return parameter


def count_kept(mask: Any) -> int:
    """Return how many are True, of all ranks: a collective where the mask is a DTensor.

    Examples
    --------
    >>> import torch
    >>> count_kept(torch.tensor([True, False, True]))
    2
    """
    total = mask.sum()
    return int(total.full_tensor() if is_sharded(total) else total)


def placed_like(mask: Any, like: Any) -> Tensor:
    """Return a mask placed as another: the rank's part of a whole one, or the whole of parts.

    The latter is a collective.
    """
    if is_sharded(mask) == is_sharded(like):
        placed: Tensor = mask
    elif is_sharded(mask):
        placed = mask.full_tensor()
    else:
        from sparsecore.pruning.sharded_masks import sharded_mask

        placed = sharded_mask(mask, like)
    return placed


def _imported(module: str, name: str) -> Any:
    """Return a class of a module of torch's, or no class where nobody has imported the module."""
    return getattr(sys.modules.get(module), name, ())
