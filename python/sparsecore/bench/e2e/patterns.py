"""Which weights of a network are zero: uniform, ERK, global, 2:4."""

from collections.abc import Callable, Collection, Mapping

import torch
from torch import Tensor, nn

from sparsecore import pruning
from sparsecore.pruning import NM, allocation

__all__ = ["HALF", "is_24_possible", "prunable", "prune_"]

_TWO_OF_FOUR = NM(2, 4)
HALF = 50.0
"""The sparsity of 2:4, in percent."""

_ALLOCATIONS: Mapping[str, Callable[[Mapping[str, Tensor], float], dict[str, int]]] = {
    "uniform": allocation.uniform,
    "erk": allocation.erdos_renyi,
    "global": allocation.global_,
}


def prunable(model: nn.Module, ends: Collection[str]) -> dict[str, nn.Conv2d | nn.Linear]:
    """Return every convolution and linear layer by name, but those that stay dense."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and name not in ends
    }


def prune_(model: nn.Module, pattern: str, sparsity: float, ends: Collection[str]) -> None:
    """Prune by magnitude, once, in place.

    Parameters
    ----------
    model : torch.nn.Module
    pattern : {"uniform", "erk", "global", "2:4"}
    sparsity : float
        In percent, of the prunable weights together; of 2:4 it is 50.
    ends : collection of str
        Layers that stay dense.
    """
    layers = prunable(model, ends)
    if pattern == "2:4":
        for layer in filter(is_24_possible, layers.values()):
            layer.weight.masked_fill_(~_mask_24(layer.weight), 0)
        return
    weights = {f"{name}.weight" for name in layers}
    pruning.prune(
        model,
        sparsity / 100,
        allocation=_ALLOCATIONS[pattern],
        where=lambda name, _: name in weights,
    )


def is_24_possible(layer: nn.Conv2d | nn.Linear) -> bool:
    """Whether the input channels of a layer are groups of four; a depthwise one has one of them."""
    return layer.weight.shape[1] % 4 == 0


def _mask_24(weight: Tensor) -> Tensor:
    """Keep two of every four input channels, at each place of a kernel by itself."""
    # Channels last, as every library that runs 2:4 convolutions wants its groups.
    scores = weight.abs().movedim(1, -1).contiguous()
    kept = _TWO_OF_FOUR.fixed_count(tuple(scores.shape))
    mask: Tensor = pruning.prune_mask(scores, kept, _TWO_OF_FOUR)
    return torch.movedim(mask, -1, 1)
