"""ThiNet, group by group: channels are chosen, masked, and what reads them is scaled."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from sparsecore.nn.cutting import restore, state_of
from sparsecore.nn.dependencies import Unit
from sparsecore.nn.example import Example
from sparsecore.nn.taint import Layer
from sparsecore.pruning.structured.channel_groups import ChannelGroup
from sparsecore.pruning.structured.channel_reconstruction import (
    least_squares_factors,
    reconstruction_error,
    thinet_channels,
)
from sparsecore.pruning.structured.channel_removal import remove_channels
from sparsecore.pruning.structured.filter_removal import gone_of
from sparsecore.pruning.structured.filter_requests import Request
from sparsecore.pruning.structured.sampled_contributions import (
    can_sample,
    sampled_contributions,
    scale_inputs,
)

__all__ = ["Rebuilt", "Sampling", "rebuild"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How many outputs of each image are drawn, and by what."""

    samples: int
    generator: torch.Generator


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What was masked.

    Attributes
    ----------
    request : Request
        Without the groups that turned out to stay whole.
    kept : sequence of sequence of int
        The channels that each of its groups keeps, by position.
    errors : mapping of str to float
        What the readers of each layer miss, as `FilterReport.reconstruction`.
    """

    request: Request
    kept: Sequence[Sequence[int]]
    errors: Mapping[str, float]


def rebuild(
    caller: str,
    model: nn.Module,
    examples: Sequence[Example],
    request: Request,
    sampling: Sampling,
    *,
    rescale: bool,
    remove: bool,
    max_error: float | None,
) -> Rebuilt:
    """Choose and mask the channels of each group in turn, and scale the weights that read the rest.

    With `remove`, a group whose channels could not be taken out afterwards is left as it was.

    Raises
    ------
    ValueError
        As `sparsecore.pruning.structured.thinet_`. Groups before it are masked and scaled then.
    """
    counts: list[tuple[ChannelGroup, int]] = []
    chosen: list[list[int]] = []
    whole, errors = dict(request.whole), dict[str, float]()
    for group, count in request.counts:
        names = [request.names[layer] for layer in group.layers]
        drawn = _drawn(caller, names, model, examples, group, count, sampling)
        why = _why_not_sampled(group, drawn, request.names)
        kept = _chosen(group, drawn, count) if why is None else []
        gone = gone_of(group, kept)
        why = why or _masked(caller, model, examples[0], gone, remove=remove, max_error=max_error)
        if why is None:
            counts.append((group, count))
            chosen.append(kept)
            error = _scaled(group, drawn, kept) if rescale else _missed(drawn, kept)
            errors |= dict.fromkeys(names, error)
        elif request.by_name:
            msg = f"{caller}: {', '.join(names)} cannot lose filters: {why}"
            raise ValueError(msg)
        else:
            whole |= dict.fromkeys(names, why)
    return Rebuilt(dataclasses.replace(request, counts=counts, whole=whole), chosen, errors)


def _drawn(
    caller: str,
    names: Sequence[str],
    model: nn.Module,
    examples: Sequence[Example],
    group: ChannelGroup,
    count: int,
    sampling: Sampling,
) -> dict[Layer, Tensor]:
    """Return the contributions by the layers that read, (samples, channels), checked."""
    drawn = sampled_contributions(
        model,
        examples,
        group.channels,
        samples=sampling.samples,
        generator=sampling.generator,
    )
    _check_drawn(caller, names, drawn, count)
    return drawn


def _chosen(group: ChannelGroup, drawn: Mapping[Layer, Tensor], count: int) -> list[int]:
    together = torch.cat(list(drawn.values()))
    return thinet_channels(together, count, classes=group.classes)


def _masked(
    caller: str,
    model: nn.Module,
    example: Example,
    channels: Sequence[Unit],
    *,
    remove: bool,
    max_error: float | None,
) -> str | None:
    """Mask channels and, for a try, take them out; or say why they cannot go."""
    state = state_of(model)
    tried = remove_channels(
        caller, model, example, [channels], names=None, physically=remove, max_error=max_error
    )
    restore(state)  # the structure; the masks are in the values of the weights
    return tried.whole.get(0)


def _scaled(group: ChannelGroup, drawn: Mapping[Layer, Tensor], kept: Sequence[int]) -> float:
    """Scale what the readers multiply the kept channels by; return what they miss then."""
    factors = {layer: least_squares_factors(x, kept) for layer, x in drawn.items()}
    for layer, of_layer in factors.items():
        pairs = zip(kept, of_layer.tolist(), strict=True)
        scale_inputs(
            layer, {i: f for at, f in pairs for i in group.channels[at].read.get(layer, ())}
        )
    return _missed(drawn, kept, factors)


def _missed(
    drawn: Mapping[Layer, Tensor],
    kept: Sequence[int],
    factors: Mapping[Layer, npt.NDArray[np.float64]] | None = None,
) -> float:
    """Return the sum of squares that is missed, relative to that of the outputs."""
    missed = sum(
        reconstruction_error(x, kept, None if factors is None else factors[layer])
        for layer, x in drawn.items()
    )
    size = sum(float(x.sum(1).square().sum()) for x in drawn.values())
    return missed / size if size else 0.0


def _check_drawn(
    caller: str, names: Sequence[str], drawn: Mapping[Layer, Tensor], count: int
) -> None:
    for x in drawn.values():
        if len(x) < count:
            msg = (
                f"{caller}: {', '.join(names)} keeps {count} channels by {len(x)} samples, "
                f"expected at least {count}: give more batches, or samples="
            )
            raise ValueError(msg)
        bad = int((~x.isfinite()).sum())
        if bad:
            msg = f"{caller}: what reads {', '.join(names)} gets {bad} NaN or infinite values"
            raise ValueError(msg)


def _why_not_sampled(
    group: ChannelGroup, drawn: Mapping[Layer, Tensor], names: Mapping[nn.Module, str]
) -> str | None:
    for layer in {layer: None for channel in group.channels for layer in channel.read}:
        if not can_sample(layer):
            kind = type(layer).__name__
            return f"{names[layer]}, which reads it, is a {kind}: its outputs are not taken apart"
        if layer not in drawn:
            return f"{names[layer]}, which reads it, is not called as a module"
    return None
