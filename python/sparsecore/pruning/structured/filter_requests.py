"""Which groups of layers lose how many channels, and which are left whole and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from sparsecore.nn.example import Example
from sparsecore.nn.uncuttable import check_model, obstacles
from sparsecore.pruning.allocation import checked_sparsity
from sparsecore.pruning.model_masks import Where
from sparsecore.pruning.structured.channel_groups import ChannelGroup, channel_groups, unbalanced
from sparsecore.pruning.structured.filter_counts import counts_by_name, kept_of

__all__ = ["Request", "requested"]


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a model.

    Attributes
    ----------
    counts : sequence of (ChannelGroup, int)
        The groups that lose channels, and how many they keep.
    names : mapping of layer to str
    whole : mapping of str to str
        The layers that keep all their filters although they were asked for, and why.
    by_name : bool
        Whether layers were named: then none of them may stay whole.
    """

    counts: Sequence[tuple[ChannelGroup, int]]
    names: Mapping[nn.Module, str]
    whole: Mapping[str, str]
    by_name: bool


def requested(
    caller: str,
    model: nn.Module,
    example: Example,
    *,
    sparsity: float | Mapping[str, float] | None,
    kept: Mapping[str, int] | None,
    where: Where | None,
) -> Request:
    """Work out a request; the arguments are those of `prune_filters_`.

    Raises
    ------
    ValueError, TypeError
        Arguments that contradict each other or the model.
    """
    _check(caller, model, sparsity, kept, where)
    names = {module: name for name, module in model.named_modules()}
    groups = channel_groups(model, example, caller=caller)
    uncuttable = obstacles(model, names, balanced=True)
    whys = [_why_whole(group, uncuttable) for group in groups]
    if kept is not None or isinstance(sparsity, Mapping):
        shares = sparsity if isinstance(sparsity, Mapping) else None
        named = [[names[layer] for layer in group.layers] for group in groups]
        counts = counts_by_name(caller, groups, named, shares, kept)
        for i in counts:
            if whys[i] is not None:
                msg = f"{caller}: {named[i][0]!r} cannot lose filters: {whys[i]}"
                raise ValueError(msg)
        return Request([(groups[i], counts[i]) for i in sorted(counts)], names, {}, True)
    assert sparsity is not None  # _check
    chosen = [i for i, group in enumerate(groups) if _is_selected(group, names, where)]
    _check_any(caller, chosen, where)
    return Request(
        [(groups[i], kept_of(groups[i], sparsity)) for i in chosen if whys[i] is None],
        names,
        {names[m]: why for i in chosen if (why := whys[i]) is not None for m in groups[i].layers},
        False,
    )


def _check(
    caller: str,
    model: nn.Module,
    sparsity: float | Mapping[str, float] | None,
    kept: Mapping[str, int] | None,
    where: Where | None,
) -> None:
    check_model(caller, model)
    if where is not None and not callable(where):
        msg = f"{caller}: where is {type(where).__name__}, expected a function of (name, weight)"
        raise TypeError(msg)
    if (sparsity is None) == (kept is None):
        given = "both" if kept is not None else "neither"
        msg = f"{caller}: got {given} of sparsity and kept, expected one of them"
        raise ValueError(msg)
    if kept is not None and not isinstance(kept, Mapping):
        msg = f"{caller}: kept is a {type(kept).__name__}, expected a mapping of layer to count"
        raise TypeError(msg)
    if where is not None and (kept is not None or isinstance(sparsity, Mapping)):
        msg = f"{caller}: where= selects layers, and so do the names: expected one of them"
        raise ValueError(msg)
    if sparsity is not None and not isinstance(sparsity, Mapping):
        checked_sparsity(sparsity, caller=caller)


def _check_any(caller: str, chosen: Sequence[int], where: Where | None) -> None:
    if not chosen:
        missing = "convolution" if where is None else "layer that where= selects"
        msg = f"{caller}: the model's run on example_inputs leads through no {missing}"
        raise ValueError(msg)


def _is_selected(group: ChannelGroup, names: Mapping[nn.Module, str], where: Where | None) -> bool:
    if where is None:
        return any(not isinstance(layer, nn.Linear) for layer in group.layers)
    return all(where(f"{names[m]}.weight".lstrip("."), m.weight) for m in group.layers)


def _why_whole(group: ChannelGroup, uncuttable: Mapping[nn.Module, str]) -> str | None:
    for channel in group.channels:
        if channel.obstacle is not None:
            return channel.obstacle
        for module in (*channel.given, *channel.read):
            if module in uncuttable:
                return uncuttable[module]
        if not channel.read:
            return "the model's output has it"
    return unbalanced(group)
