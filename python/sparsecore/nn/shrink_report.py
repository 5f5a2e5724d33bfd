"""What `shrink_` removed and what it left, as values and a text table."""

from collections.abc import Sequence
from dataclasses import dataclass

from sparsecore.text_table import table_lines

__all__ = ["DeadUnits", "LayerSizes", "ShrinkReport", "sizes_table"]


@dataclass(frozen=True, slots=True)
class LayerSizes:
    """A layer's inputs and outputs: features, or channels.

    Attributes
    ----------
    name : str
        As in ``model.named_modules()``.
    before, after : (int, int)
        (in, out).
    """

    name: str
    before: tuple[int, int]
    after: tuple[int, int]


@dataclass(frozen=True, slots=True)
class DeadUnits:
    """Dead units that stayed.

    Attributes
    ----------
    layer : str
    units : tuple of int
        As the layer numbers them now.
    why : str
    """

    layer: str
    units: tuple[int, ...]
    why: str


@dataclass(frozen=True, slots=True)
class ShrinkReport:
    """The layers, what stayed, and the whole model before and after. ``str(report)`` is a table.

    Attributes
    ----------
    layers : tuple of LayerSizes
        All linear and convolution layers, in the order of ``model.named_modules()``.
    left : tuple of DeadUnits
    parameters_before, parameters_after : int
        Numbers in all parameters.
    macs_before, macs_after : int
        Multiply-accumulates of one run on the example, of convolutions and matrix products.
    max_error : float
        Largest difference between the outputs after and before, relative to the largest magnitude
        of the output tensor.
    """

    layers: tuple[LayerSizes, ...]
    left: tuple[DeadUnits, ...]
    parameters_before: int
    parameters_after: int
    macs_before: int
    macs_after: int
    max_error: float

    @property
    def removed(self) -> int:
        """How many units the layers lost, all together."""
        return sum(layer.before[1] - layer.after[1] for layer in self.layers)

    def __str__(self) -> str:
        """Return a table of the layers, what stayed and why, and the model's totals."""
        return "\n".join([*sizes_table(self.layers), "", *map(_line, self.left), *_totals(self)])


def sizes_table(layers: Sequence[LayerSizes]) -> list[str]:
    """Return the lines of a table: each layer's inputs and outputs, and what became of them."""
    head = ["layer", "in", "out"]
    return table_lines([head, *([layer.name, *_changes(layer)] for layer in layers)])


def _changes(layer: LayerSizes) -> list[str]:
    pairs = zip(layer.before, layer.after, strict=True)
    return [f"{old}" if old == new else f"{old} -> {new}" for old, new in pairs]


def _line(dead: DeadUnits) -> str:
    count = len(dead.units)
    shown = ", ".join(map(str, dead.units[:8])) + (", ..." if count > 8 else "")
    return f"{dead.layer}: {count} dead {'unit' if count == 1 else 'units'} ({shown}): {dead.why}"


def _totals(report: ShrinkReport) -> list[str]:
    return [
        f"removed: {report.removed} units",
        f"parameters: {report.parameters_before} -> {report.parameters_after}",
        f"multiply-accumulates: {report.macs_before} -> {report.macs_after}",
        f"largest relative difference of the outputs: {report.max_error:.1e}",
    ]
