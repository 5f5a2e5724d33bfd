"""Which units of a model are dead, which of them can be removed, and why the others cannot.

A unit can be removed where each layer that reads it has only zeros for it, or gets a constant from
it that its bias can take: see `shrink_`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from sparsecore.nn.dependencies import Unit, is_depthwise
from sparsecore.nn.taint import Layer, rows
from sparsecore.nn.uncuttable import obstacles

__all__ = ["Judge", "Kept", "Removal", "channel_count", "constant_units", "survey"]

_BATCH_NORM = nn.modules.batchnorm._BatchNorm


@dataclass(frozen=True, slots=True)
class Removal:
    """A unit that can go, and what the layers that read it get from it: a constant each channel."""

    unit: Unit
    constants: Mapping[Layer, Mapping[int, float]]


@dataclass(frozen=True, slots=True)
class Kept:
    """A dead unit that stays."""

    unit: Unit
    why: str


def constant_units(model: nn.Module) -> dict[nn.Module, Tensor]:
    """Return the units whose weights are all zero, of layers and BatchNorms: bool (out,)."""
    found: dict[nn.Module, Tensor] = {}
    for module in model.modules():
        if isinstance(module, Layer) and not _is_grouped_transposed(module):
            found[module] = rows(module).flatten(1).count_nonzero(1) == 0
        elif isinstance(module, _BATCH_NORM) and module.weight is not None:
            found[module] = module.weight.detach() == 0
    return {module: mask for module, mask in found.items() if mask.any()}


def survey(
    model: nn.Module,
    units: Sequence[Unit],
    inputs: Mapping[Layer, Tensor],
    constant: Mapping[nn.Module, Tensor],
) -> tuple[list[Removal], list[Kept]]:
    """Divide the dead units.

    Parameters
    ----------
    model : torch.nn.Module
    units : sequence of Unit
    inputs : mapping of layer to tensor
        What `sparsecore.nn.taint.constant_inputs` returned.
    constant : mapping of module to tensor
        What `constant_units` returned.
    """
    judge = Judge(model, inputs, constant)
    removals: list[Removal] = []
    kept: list[Kept] = []
    for unit in units:
        # A depthwise unit goes with the channel that it works on.
        if is_depthwise(unit.layer) and any(_is_dense(module) for module in unit.given):
            continue
        why = judge.why_not(unit)
        if why is None:
            removals.append(Removal(unit, judge.constants(unit)))
        elif judge.is_dead(unit):
            kept.append(Kept(unit, why))
    return _leave_one(removals, kept)


class Judge:
    """What is known of a model while its units are judged.

    Parameters
    ----------
    model, inputs, constant
        As in `survey`.
    balanced : bool
        Whether every group of a convolution will lose as many channels as the others.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Mapping[Layer, Tensor],
        constant: Mapping[nn.Module, Tensor],
        *,
        balanced: bool = False,
    ) -> None:
        self._names = {module: name for name, module in model.named_modules()}
        self._inputs = {layer: values.tolist() for layer, values in inputs.items()}
        self._constant = {module: mask.tolist() for module, mask in constant.items()}
        self._obstacles = obstacles(model, self._names, balanced=balanced)
        layers = [m for m in model.modules() if isinstance(m, Layer)]
        self._read = {layer: _read_channels(layer).tolist() for layer in layers}

    def is_dead(self, unit: Unit) -> bool:
        """Whether a unit's own weights are all zero, or all that read it."""
        if self._is_constant(unit.layer, unit.index):
            return True
        reads = [self._read[layer][i] for layer, read in unit.read.items() for i in read]
        return bool(reads) and not any(reads)

    def constants(self, unit: Unit) -> dict[Layer, dict[int, float]]:
        """Return what takes the place of what the layers read; zero where they multiply by it."""
        return {
            layer: {i: self._inputs[layer][i] if self._read[layer][i] else 0.0 for i in read}
            for layer, read in unit.read.items()
        }

    def why_not(self, unit: Unit) -> str | None:
        """Say why a unit cannot be removed; None where it can."""
        if unit.obstacle is not None:
            return unit.obstacle
        for module in (*unit.given, *unit.read):
            if module in self._obstacles:
                return self._obstacles[module]
        if not unit.read:
            return "the model's output has it"
        for layer, read in unit.read.items():
            why = self._why_unread(unit, layer, read)
            if why is not None:
                return why
        return None

    def _why_unread(self, unit: Unit, layer: Layer, read: frozenset[int]) -> str | None:
        name = self._names[layer]
        for i in sorted(read):
            if not self._read[layer][i]:
                continue
            if layer not in self._inputs:
                return f"{name}, which reads it, is not called as a module"
            value = self._inputs[layer][i]
            if value != value:  # NaN
                return f"{name} reads it{self._company(unit)}, and gets no constant"
            if value != 0 and _pads_with_zeros(layer):
                return (
                    f"{name} reads the constant {value:.3g} from it but zeros beyond the edge, "
                    "which no bias can stand for"
                )
            if value != 0 and getattr(layer, "groups", 1) > 1:
                return f"{name} reads the constant {value:.3g} from it in groups"
        return None

    def _company(self, unit: Unit) -> str:
        """Say what else is added to a unit, or takes its place beside it."""
        others = [
            self._names[module]
            for module, given in unit.given.items()
            if _is_dense(module)
            and module is not unit.layer
            and not all(self._is_constant(module, i) for i in given)
        ]
        return f" together with what {', '.join(others)} gives" if others else ""

    def _is_constant(self, module: nn.Module, index: int) -> bool:
        return module in self._constant and bool(self._constant[module][index])


def _read_channels(layer: Layer) -> Tensor:
    """Return which channels of a layer's input it multiplies by something: bool (in,)."""
    weight = layer.weight.detach()
    if isinstance(layer, nn.Linear):
        return weight.count_nonzero(0) != 0
    if layer.transposed:
        return weight.flatten(1).count_nonzero(1) != 0
    by_group = weight.reshape(layer.groups, -1, *weight.shape[1:]).flatten(3)
    read: Tensor = by_group.count_nonzero((1, 3)) != 0
    return read.flatten()


def _is_dense(module: nn.Module) -> bool:
    return isinstance(module, Layer) and not is_depthwise(module)


def _pads_with_zeros(layer: Layer) -> bool:
    """Whether a constant input does not give a constant output."""
    if isinstance(layer, nn.Linear):
        return False
    if layer.transposed:
        return True  # at the edge fewer positions add up
    if isinstance(layer.padding, str):
        padded = layer.padding == "same" and max(layer.kernel_size) > 1
    else:
        padded = any(layer.padding)
    return padded and layer.padding_mode == "zeros"


def _is_grouped_transposed(layer: Layer) -> bool:
    return not isinstance(layer, nn.Linear) and layer.transposed and layer.groups > 1


def _leave_one(removals: Sequence[Removal], kept: list[Kept]) -> tuple[list[Removal], list[Kept]]:
    """Leave every layer its first unit."""
    left: dict[tuple[nn.Module, str], set[int]] = {}
    chosen: list[Removal] = []
    for removal in reversed(removals):
        unit = removal.unit
        uses = [((module, "out"), given) for module, given in unit.given.items()]
        uses += [((layer, "in"), read) for layer, read in unit.read.items()]
        for (module, axis), _ in uses:
            left.setdefault((module, axis), set(range(channel_count(module, axis))))
        if any(left[key] <= indices for key, indices in uses):
            kept.append(Kept(unit, "a layer keeps one unit"))
            continue
        for key, indices in uses:
            left[key] -= indices
        chosen.append(removal)
    return chosen[::-1], kept


def channel_count(module: nn.Module, axis: str) -> int:
    """Return how many outputs ("out") or inputs ("in") a module has."""
    if isinstance(module, nn.Linear):
        return module.out_features if axis == "out" else module.in_features
    if isinstance(module, nn.modules.conv._ConvNd):
        return module.out_channels if axis == "out" else module.in_channels
    size: int = vars(module).get("num_features", vars(module).get("num_parameters", 1))
    return size
