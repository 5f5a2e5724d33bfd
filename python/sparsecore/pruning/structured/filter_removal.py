"""From the filters that are kept to the smaller model and its report."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from sparsecore.nn.dependencies import Unit
from sparsecore.nn.example import Example
from sparsecore.pruning.structured.channel_groups import ChannelGroup
from sparsecore.pruning.structured.channel_removal import remove_channels
from sparsecore.pruning.structured.filter_report import FilterReport, Sizes
from sparsecore.pruning.structured.filter_requests import Request

__all__ = ["gone_of", "remove_filters"]


def remove_filters(
    caller: str,
    model: nn.Module,
    example: Example,
    request: Request,
    kept: Sequence[Sequence[int]],
    *,
    remove: bool,
    max_error: float | None,
) -> FilterReport:
    """Remove all channels of the request's groups but those kept, by position, and report.

    Raises
    ------
    ValueError
        As `remove_channels`, and where layers were named of which a group cannot lose its channels.
    """
    before = Sizes.of(model, example)
    groups = [group for group, _ in request.counts]
    names = [[request.names[layer] for layer in group.layers] for group in groups]
    removed = remove_channels(
        caller,
        model,
        example,
        [gone_of(group, of_group) for group, of_group in zip(groups, kept, strict=True)],
        names=[", ".join(of_group) for of_group in names] if request.by_name else None,
        physically=remove,
        max_error=max_error,
    )
    whole = {name: why for i, why in removed.whole.items() for name in names[i]}
    filters = {
        request.names[layer]: tuple(of_layer)
        for i, (group, of_group) in enumerate(zip(groups, kept, strict=True))
        if i not in removed.whole
        for layer, of_layer in group.filters(of_group).items()
    }
    return FilterReport.between(
        before,
        Sizes.of(model, example),
        kept=filters,
        whole={**request.whole, **whole},
        masks=removed.masked.masks,
        max_error=removed.error,
    )


def gone_of(group: ChannelGroup, kept: Sequence[int]) -> list[Unit]:
    """Return the channels that are not kept."""
    return [channel for i, channel in enumerate(group.channels) if i not in set(kept)]
