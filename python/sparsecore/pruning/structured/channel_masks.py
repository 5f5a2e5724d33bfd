"""Channels that are masked: all that gives them is zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sparsecore.nn.dependencies import Unit
from sparsecore.nn.taint import Layer

__all__ = ["Masked", "mask_channels"]


@dataclass(frozen=True, slots=True)
class Masked:
    """What was masked, and how to undo it.

    Attributes
    ----------
    masks : mapping of str to bool tensor
        By the names of the parameters, True = kept.
    before : sequence of (tensor, tensor)
        Each tensor that was written to, and a copy of what it was.
    """

    masks: Mapping[str, Tensor]
    before: Sequence[tuple[Tensor, Tensor]]

    def undo(self) -> None:
        """Make the tensors what they were, to the bit."""
        with torch.no_grad():
            for tensor, copy in self.before:
                tensor.copy_(copy)


def mask_channels(model: nn.Module, channels: Sequence[Unit]) -> Masked:
    """Set to zero, in place, what gives the channels: weights, biases, normalisations.

    Of a normalisation without parameters the running mean, so that it gives zero as well.
    """
    outputs: dict[nn.Module, set[int]] = {}
    for channel in channels:
        for module, found in channel.given.items():
            outputs.setdefault(module, set()).update(found)
    names = {id(p): name for name, p in model.named_parameters()}
    masks, before = {}, []
    with torch.no_grad():
        for module, indices in outputs.items():
            for tensor, axis in _gives(module):
                before.append((tensor, tensor.clone()))
                index = torch.tensor(sorted(indices), device=tensor.device)
                tensor.index_fill_(axis, index, 0)
                if id(tensor) in names:
                    mask = torch.ones_like(tensor, dtype=torch.bool)
                    masks[names[id(tensor)]] = mask.index_fill_(axis, index, False)
    return Masked(masks, before)


def _gives(module: nn.Module) -> list[tuple[Tensor, int]]:
    """Return the tensors that must be zero where a module's output is, and the axis of outputs."""
    if isinstance(module, nn.PReLU):
        return []
    weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
    if isinstance(module, Layer):
        axis = 1 if getattr(module, "transposed", False) and module.groups == 1 else 0
        return [(module.weight, axis), *([] if bias is None else [(bias, 0)])]
    found = [(t, 0) for t in (weight, bias) if isinstance(t, Tensor)]
    mean = getattr(module, "running_mean", None)
    if not found and isinstance(mean, Tensor):
        found.append((mean, 0))
    return found
