"""Which filters of which layers go together: channels, and the groups of layers they tie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from torch import nn

from sparsecore.nn.dependencies import Unit, is_depthwise, units_of
from sparsecore.nn.example import Example
from sparsecore.nn.taint import Layer

__all__ = ["ChannelGroup", "channel_groups", "unbalanced"]

# A convolution, its inputs ("in") or outputs ("out"), and which of its groups.
_Label: TypeAlias = tuple[nn.modules.conv._ConvNd, str, int]


@dataclass(frozen=True, slots=True)
class ChannelGroup:
    """Layers whose filters can only go together, and the channels that they give together.

    Attributes
    ----------
    layers : tuple of layer
        In the order of ``model.modules()``: one, or those that a residual sum ties. Depthwise
        convolutions are not among them: they follow the channels that they work on.
    channels : tuple of Unit
        What goes together, each once: filters, normalisations, inputs of the layers that read it.
    classes : tuple of int
        Of each channel. Where a convolution has groups, every class must lose as many channels as
        the others; otherwise there is one class.
    """

    layers: tuple[Layer, ...]
    channels: tuple[Unit, ...]
    classes: tuple[int, ...]

    @property
    def class_count(self) -> int:
        """How many classes there are."""
        return len(set(self.classes))

    def filters(self, chosen: Iterable[int]) -> dict[Layer, list[int]]:
        """Return the filters of some channels, ascending, of each of the layers."""
        found: dict[Layer, set[int]] = {layer: set() for layer in self.layers}
        for position in chosen:
            for layer in self.layers:
                found[layer] |= self.channels[position].given.get(layer, frozenset())
        return {layer: sorted(filters) for layer, filters in found.items()}


def channel_groups(model: nn.Module, example: Example, *, caller: str) -> list[ChannelGroup]:
    """Return all groups of a model, in the order of their first layers.

    Raises
    ------
    ImportError
        If torch-pruning is not installed.
    ValueError
        If it cannot trace the model.

    References
    ----------
    Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023.
    """
    units = units_of(model, example, caller=caller)
    channels = [_merged(together) for together in _tied(units)]
    order = {module: i for i, module in enumerate(model.modules())}
    parts: list[tuple[set[Layer], list[Unit]]] = []
    for channel in channels:
        layers = {m for m in channel.given if isinstance(m, Layer) and not is_depthwise(m)}
        touching = [part for part in parts if part[0] & layers]
        parts = [part for part in parts if not part[0] & layers]
        members = [unit for _, group in touching for unit in group]
        parts.append((layers.union(*(part[0] for part in touching)), [*members, channel]))
    groups = [
        ChannelGroup(
            tuple(sorted(layers, key=order.__getitem__)), tuple(members), _classes(members)
        )
        for layers, members in parts
        if layers
    ]
    return sorted(groups, key=lambda group: order[group.layers[0]])


def _tied(units: Sequence[Unit]) -> list[list[Unit]]:
    """Join the units that share an output of some module, in the order of the first of each."""
    owner: dict[tuple[nn.Module, int], int] = {}
    sets: dict[int, list[int]] = {}
    outputs = [_outputs(unit) for unit in units]
    for number, keys in enumerate(outputs):
        met = sorted({owner[key] for key in keys if key in owner} | {number})
        joined = sorted([number, *(i for other in met for i in sets.pop(other, []))])
        sets[met[0]] = joined
        owner |= {key: met[0] for i in joined for key in outputs[i]}
    return [[units[i] for i in sets[first]] for first in sorted(sets)]


def _outputs(unit: Unit) -> set[tuple[nn.Module, int]]:
    return {(unit.layer, unit.index), *((m, i) for m, found in unit.given.items() for i in found)}


def _merged(units: Sequence[Unit]) -> Unit:
    given: dict[nn.Module, frozenset[int]] = {}
    read: dict[Layer, frozenset[int]] = {}
    for unit in units:
        for module, indices in unit.given.items():
            given[module] = given.get(module, frozenset()) | indices
        for layer, indices in unit.read.items():
            read[layer] = read.get(layer, frozenset()) | indices
    obstacle = next((unit.obstacle for unit in units if unit.obstacle is not None), None)
    return Unit(units[0].layer, units[0].index, given, read, obstacle)


def _classes(channels: Sequence[Unit]) -> tuple[int, ...]:
    """Give the classes numbers in the order of their first channels."""
    labels: dict[frozenset[_Label], int] = {}
    return tuple(labels.setdefault(frozenset(_labels(c)), len(labels)) for c in channels)


def unbalanced(group: ChannelGroup) -> str | None:
    """Say why the groups of a convolution cannot lose alike; None where they can."""
    counts = Counter(label for channel in group.channels for label in _labels(channel))
    found: dict[tuple[nn.Module, str], list[int]] = {}
    for (conv, axis, _), count in counts.items():
        found.setdefault((conv, axis), []).append(count)
    sizes = Counter(group.classes).values()
    alike = len(set(sizes)) == 1 and all(
        len(set(of_groups)) == 1 and len(of_groups) == conv.groups
        for (conv, _), of_groups in found.items()
    )
    return None if alike else "the groups of a convolution cannot all lose as many channels"


def _labels(channel: Unit) -> set[_Label]:
    """Say which groups of which convolutions a channel comes from and goes to."""
    found = set()
    for axis, uses in (("out", channel.given), ("in", channel.read)):
        for module, indices in uses.items():
            groups = getattr(module, "groups", 1)
            if isinstance(module, nn.modules.conv._ConvNd) and not (
                groups == 1 or is_depthwise(module)
            ):
                size = (module.out_channels if axis == "out" else module.in_channels) // groups
                found |= {(module, axis, i // size) for i in indices}
    return found
