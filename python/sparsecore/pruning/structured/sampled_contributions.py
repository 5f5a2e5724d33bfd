"""What each input channel adds to randomly chosen outputs of a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparsecore.nn.dependencies import Unit
from sparsecore.nn.example import Example, undisturbed
from sparsecore.nn.taint import Layer

__all__ = ["can_sample", "sampled_contributions", "scale_inputs"]


def can_sample(layer: nn.Module) -> bool:
    """Whether the outputs of a layer can be taken apart: of linear layers and 2-D convolutions."""
    return isinstance(layer, nn.Linear | nn.Conv2d)


def sampled_contributions(
    model: nn.Module,
    examples: Sequence[Example],
    channels: Sequence[Unit],
    *,
    samples: int,
    generator: torch.Generator,
) -> dict[Layer, Tensor]:
    """Run the model in evaluation mode, and take outputs of the layers that read channels apart.

    Parameters
    ----------
    channels : sequence of Unit
        What the layers read of each.
    samples : int
        How many outputs of each image of a batch: a place and an output channel, each drawn anew,
        all alike likely.
    generator : torch.Generator
        Of the CPU. It is advanced.

    Returns
    -------
    dict of layer to float64 tensor (samples, channels), on the CPU
        Of each layer that was called.
    """
    reads: dict[Layer, list[Sequence[int]]] = {}
    for number, channel in enumerate(channels):
        for layer, read in channel.read.items():
            reads.setdefault(layer, [()] * len(channels))[number] = sorted(read)
    reads = {layer: of_layer for layer, of_layer in reads.items() if can_sample(layer)}
    found: dict[Layer, list[Tensor]] = {}

    def take(layer: Any, args: Any) -> None:
        drawn = _contributions(layer, args[0].detach(), samples, generator)
        sums = [drawn[:, list(indices)].sum(1) for indices in reads[layer]]
        found.setdefault(layer, []).append(torch.stack(sums, 1).cpu())

    handles = [layer.register_forward_pre_hook(take) for layer in reads]
    try:
        with undisturbed(model):
            for example in examples:
                example.copy().call(model)
    finally:
        for handle in handles:
            handle.remove()
    return {layer: torch.cat(parts) for layer, parts in found.items()}


def scale_inputs(layer: Layer, factors: Mapping[int, float]) -> None:
    """Multiply, in place, the weights by which a layer reads channels."""
    weight = layer.weight
    groups = getattr(layer, "groups", 1)
    rows, columns = len(weight) // groups, weight.shape[1]
    for channel, factor in factors.items():
        group, column = divmod(channel, columns)
        weight[group * rows : (group + 1) * rows, column] *= factor


def _contributions(layer: Any, x: Tensor, samples: int, generator: torch.Generator) -> Tensor:
    """Return (images * samples, in) in float64: a random output of each, input by input."""
    if isinstance(layer, nn.Linear):
        return _of_linear(layer, x, samples, generator)
    return _of_conv(layer, x if x.ndim == 4 else x[None], samples, generator)


def _of_linear(layer: nn.Linear, x: Tensor, samples: int, generator: torch.Generator) -> Tensor:
    rows = x.reshape(1 if x.ndim == 1 else len(x), -1, x.shape[-1])
    image = torch.arange(len(rows)).repeat_interleave(samples)
    place = _drawn(rows.shape[1], len(image), generator)
    unit = _drawn(layer.out_features, len(image), generator)
    chosen = rows[image.to(x.device), place.to(x.device)].double()
    return chosen * layer.weight.detach()[unit.to(x.device)].double()


def _of_conv(layer: nn.Conv2d, x: Tensor, samples: int, generator: torch.Generator) -> Tensor:
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    padded = F.pad(x, layer._reversed_padding_repeated_twice, mode=mode)
    image = torch.arange(len(x)).repeat_interleave(samples)
    unit = _drawn(layer.out_channels, len(image), generator)
    at = []
    for axis in (0, 1):
        reach = layer.dilation[axis] * (layer.kernel_size[axis] - 1)
        places = (padded.shape[2 + axis] - reach - 1) // layer.stride[axis] + 1
        first = _drawn(places, len(image), generator) * layer.stride[axis]
        taps = layer.dilation[axis] * torch.arange(layer.kernel_size[axis])
        at.append((first[:, None] + taps).to(x.device))
    # (m, kh, kw, in): the patch of each output.
    patch = padded[image.to(x.device)[:, None, None], :, at[0][:, :, None], at[1][:, None, :]]
    return torch.einsum("mhwc,mchw->mc", patch.double(), _rows_of(layer, unit.to(x.device)))


def _rows_of(conv: nn.Conv2d, unit: Tensor) -> Tensor:
    """Return the weights of some units over all inputs, (m, in, kh, kw), zeros beside the group."""
    weight = conv.weight.detach()[unit].double()
    blocks = weight.new_zeros(len(unit), conv.groups, *weight.shape[1:])
    group = unit // (conv.out_channels // conv.groups)
    blocks[torch.arange(len(unit), device=unit.device), group] = weight
    return blocks.flatten(1, 2)


def _drawn(below: int, count: int, generator: torch.Generator) -> Tensor:
    return torch.randint(below, (count,), generator=generator)
