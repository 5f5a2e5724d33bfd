"""What an audit found, as values and a text table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["AuditReport", "LayerAudit"]


@dataclass(frozen=True, slots=True)
class LayerAudit:
    """One pruned weight.

    Attributes
    ----------
    name : str
        Of the parameter.
    shape : tuple of int
    kept : int
        Nonzeros, or what the mask keeps.
    dead_outputs, dead_inputs : tuple of int
        Units of the layer (features, or channels) with no kept weight.
    connected : int or None
        Kept weights on a path from the model's input to its output; None without example inputs.
    cut_outputs, cut_inputs : tuple of int
        Units with no such weight, the dead ones among them; empty without example inputs.
    """

    name: str
    shape: tuple[int, ...]
    kept: int
    dead_outputs: tuple[int, ...]
    dead_inputs: tuple[int, ...]
    connected: int | None
    cut_outputs: tuple[int, ...] = ()
    cut_inputs: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """Weights in all."""
        size = 1
        for length in self.shape:
            size *= length
        return size

    @property
    def density(self) -> float:
        """Kept / size; NaN of an empty weight."""
        return self.kept / self.size if self.size else float("nan")


@dataclass(frozen=True, slots=True, repr=False)
class AuditReport:
    """All pruned weights, and what is wrong with them. The repr is a table.

    Attributes
    ----------
    layers : tuple of LayerAudit
        In the order of ``model.named_modules()``.
    warnings : tuple of str
        One sentence each.
    """

    layers: tuple[LayerAudit, ...]
    warnings: tuple[str, ...]

    @property
    def size(self) -> int:
        """Weights of all layers."""
        return sum(layer.size for layer in self.layers)

    @property
    def kept(self) -> int:
        """Kept weights of all layers."""
        return sum(layer.kept for layer in self.layers)

    @property
    def connected(self) -> int | None:
        """Kept weights on a path from input to output; None without example inputs."""
        counts = [layer.connected for layer in self.layers if layer.connected is not None]
        return sum(counts) if len(counts) == len(self.layers) else None

    @property
    def sparsity(self) -> float:
        """Pruned / all; NaN where all are empty."""
        return self._fraction(self.kept)

    @property
    def effective_sparsity(self) -> float | None:
        """1 - connected / all: what is pruned or useless; None without example inputs."""
        return None if self.connected is None else self._fraction(self.connected)

    def _fraction(self, left: int) -> float:
        return (self.size - left) / self.size if self.size else float("nan")

    def __repr__(self) -> str:
        """Return a table of the layers, the totals and the warnings."""
        return "\n".join([*_table(self.layers), "", *_totals(self), *self.warnings])


def _table(layers: Sequence[LayerAudit]) -> list[str]:
    head = ["weight", "shape", "kept", "density", "dead out", "dead in"]
    rows = [head, *map(_row, layers)]
    if all(layer.connected is not None for layer in layers):
        head += ["on a path", "cut out", "cut in"]
        for row, layer in zip(rows[1:], layers, strict=True):
            row += [f"{layer.connected}", f"{len(layer.cut_outputs)}", f"{len(layer.cut_inputs)}"]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if i > 1 else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return [lines[0], "-" * len(lines[0]), *lines[1:]]


def _row(layer: LayerAudit) -> list[str]:
    shape = " x ".join(map(str, layer.shape))
    dead = [f"{len(layer.dead_outputs)}", f"{len(layer.dead_inputs)}"]
    return [layer.name, shape, f"{layer.kept}", f"{layer.density:.4f}", *dead]


def _totals(report: AuditReport) -> list[str]:
    lines = [f"kept: {report.kept} of {report.size} weights, sparsity {report.sparsity:.4f}"]
    if report.connected is not None:
        lines.append(
            f"on a path: {report.connected}, effective sparsity {report.effective_sparsity:.4f}"
        )
    return lines
