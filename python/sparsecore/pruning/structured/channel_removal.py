"""Channels are masked and then taken out of the model, where nothing else depends on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from sparsecore.nn.cutting import attempt, restore, state_of
from sparsecore.nn.dead_units import Judge, Removal, channel_count, constant_units
from sparsecore.nn.dependencies import Unit
from sparsecore.nn.example import Example
from sparsecore.nn.taint import Layer, Untraceable, constant_inputs
from sparsecore.pruning.structured.channel_masks import Masked, mask_channels

__all__ = ["Removed", "remove_channels"]


@dataclass(frozen=True, slots=True)
class Removed:
    """What became of channels that were to go.

    Attributes
    ----------
    masked : Masked
        Of those that are gone, with the shapes that they had.
    whole : mapping of int to str
        Which sets of channels are still there, and why.
    error : float
        The largest relative difference of the outputs, after and before they were taken out.
    """

    masked: Masked
    whole: Mapping[int, str]
    error: float


def remove_channels(
    caller: str,
    model: nn.Module,
    example: Example,
    sets: Sequence[Sequence[Unit]],
    *,
    names: Sequence[str] | None,
    physically: bool,
    max_error: float | None,
) -> Removed:
    """Mask sets of channels and, `physically`, take them out; a set goes as a whole or stays.

    What the layers get from a masked channel is a constant, mostly zero, which goes into their
    biases; that it is one and that nothing else depends on the channel is shown as in `shrink_`.

    Raises
    ------
    ValueError
        If the model cannot be followed; if sets that can go alone cannot go together; where `names`
        of the sets are given, if one cannot go. The model is as before, as after any exception.
    """
    saved, masked = state_of(model), Masked({}, ())
    whole: dict[int, str] = {}
    try:
        while True:
            left = [i for i in range(len(sets)) if i not in whole]
            masked = mask_channels(model, [channel for i in left for channel in sets[i]])
            if not physically:
                return Removed(masked, whole, 0.0)
            whys, error = _take_out(caller, model, example, [sets[i] for i in left], max_error)
            if not whys:
                return Removed(masked, whole, error)
            if names is not None:
                first, why = min(whys.items())
                msg = f"{caller}: {names[left[first]]} cannot lose filters: {why}"
                raise ValueError(msg)
            masked.undo()
            whole |= {left[i]: why for i, why in whys.items()}
    except BaseException:
        restore(saved)
        masked.undo()
        raise


def _take_out(
    caller: str,
    model: nn.Module,
    example: Example,
    sets: Sequence[Sequence[Unit]],
    max_error: float | None,
) -> tuple[dict[int, str], float]:
    """Take all masked sets out, or say which cannot go and change nothing."""
    if not any(sets):
        return {}, 0.0
    bundles, whys = _removals(caller, model, example, sets)
    if whys:
        return whys, 0.0
    reference = example.output(model)
    everything = [removal for bundle in bundles for removal in bundle]
    done = attempt(model, example, everything, reference, max_error=max_error)
    if done.why is None:
        return {}, done.error
    if len(sets) == 1:
        return {0: done.why}, 0.0
    for i, bundle in enumerate(bundles):
        saved = state_of(model)
        alone = attempt(model, example, bundle, reference, max_error=max_error)
        restore(saved)
        if alone.why is not None:
            whys[i] = alone.why
    if not whys:
        msg = f"{caller}: channels that can go alone cannot go together: {done.why}"
        raise ValueError(msg)
    return whys, 0.0


def _emptied(channels: Sequence[Unit]) -> str | None:
    """Say whether a module would be left with nothing."""
    lost: dict[tuple[nn.Module, str], set[int]] = {}
    for channel in channels:
        for axis, uses in (("out", channel.given), ("in", channel.read)):
            for module, found in uses.items():
                lost.setdefault((module, axis), set()).update(found)
    for (module, axis), indices in lost.items():
        if len(indices) == channel_count(module, axis):
            return f"a {type(module).__name__} would be left with nothing"
    return None


def _removals(
    caller: str, model: nn.Module, example: Example, sets: Sequence[Sequence[Unit]]
) -> tuple[list[list[Removal]], dict[int, str]]:
    """Return what the layers get in the place of each masked channel, or why one cannot go."""
    constant = constant_units(model)
    layers = [m for m in model.modules() if isinstance(m, Layer)]
    try:
        inputs = constant_inputs(model, example, layers, constant)
    except Untraceable as error:
        msg = f"{caller}: what the model computes cannot be followed: {error}"
        raise ValueError(msg) from error
    judge = Judge(model, inputs, constant, balanced=True)
    whys: dict[int, str] = {}
    for i, channels in enumerate(sets):
        found = (judge.why_not(channel) for channel in channels)
        why = next((why for why in found if why is not None), None) or _emptied(channels)
        if why is not None:
            whys[i] = why
    if whys:
        return [], whys
    return [[Removal(c, judge.constants(c)) for c in channels] for channels in sets], {}
