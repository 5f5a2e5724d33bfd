"""What is said of the layers of a file for another runtime: values, and a table with reasons."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any, Self, get_args

from sparsecore.export.build_log import BuildLog
from sparsecore.export.judging import Judgement, Verdict
from sparsecore.export.layers import Layer
from sparsecore.text_table import printable, shape_text, table_lines

__all__ = ["Eligibility", "LayerEligibility"]


@dataclass(frozen=True, slots=True)
class LayerEligibility:
    """One layer, what can be said of its weight, and what the build log says of it.

    Attributes
    ----------
    name : str
        Of the ONNX node, or of the torch module.
    operator : {"Conv", "Gemm", "MatMul", "Linear"}
    weight, shape, dtype
        Of what it multiplies by; None where that is computed.
    verdict : {"eligible", "unsure", "not eligible", "no weight"}
    why : str
        One sentence with its number.
    share : float or None
        Of the groups of four along the axis that is summed over that have at most two nonzeros.
    notes : tuple of str
        What else decides whether a sparse kernel is taken.
    logged_eligible, picked : bool or None
        Whether the build log has it as eligible, and as run by a sparse kernel; None without a log,
        or where it has no names.
    """

    name: str
    operator: str
    weight: str | None
    shape: tuple[int, ...] | None
    dtype: str | None
    verdict: Verdict
    why: str
    share: float | None = None
    notes: tuple[str, ...] = ()
    logged_eligible: bool | None = None
    picked: bool | None = None

    @classmethod
    def of(cls, layer: Layer, found: Judgement) -> Self:
        """Return a layer with what was found of it."""
        weight = layer.weight
        return cls(
            layer.name,
            layer.operator,
            weight=None if weight is None else weight.name,
            shape=None if weight is None else weight.shape,
            dtype=None if weight is None else weight.dtype,
            verdict=found.verdict,
            why=found.why,
            share=found.share,
            notes=found.notes,
        )


@dataclass(frozen=True, slots=True)
class Eligibility:
    """The layers of a file or model. ``str(result)`` is a table with reasons.

    Attributes
    ----------
    target : str
        The runtime: "tensorrt", "onnxruntime" or "openvino".
    source : str
        The file, or the class of the model.
    note : str
        What was not done to find this out.
    layers : tuple of LayerEligibility
    log : BuildLog or None
    unmatched : tuple of str
        Layers of the log, eligible or picked, that have no node of the file in their names.
    """

    target: str
    source: str
    note: str
    layers: tuple[LayerEligibility, ...]
    log: BuildLog | None = None
    unmatched: tuple[str, ...] = ()

    def not_eligible(self, skip: Iterable[str] = ()) -> tuple[LayerEligibility, ...]:
        """Return the layers that are not eligible, but for those that `skip` has.

        Parameters
        ----------
        skip : iterable of str
            Patterns as a shell has them, of names of layers or of their weights.

        Raises
        ------
        ValueError
            If a pattern matches no layer.
        """
        skipped: set[int] = set()
        for pattern in skip:
            found = {i for i, layer in enumerate(self.layers) if _has_name(layer, pattern)}
            if not found:
                msg = f"skip has {pattern!r}, which is no layer's name, nor a weight's"
                raise ValueError(msg)
            skipped |= found
        return tuple(
            layer
            for i, layer in enumerate(self.layers)
            if layer.verdict == "not eligible" and i not in skipped
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready lists, dicts, numbers and strings."""
        return asdict(self)

    def __str__(self) -> str:
        """Return the table, the reasons, the totals and what the log says."""
        if not self.layers:
            return f"{printable(self.source)}: no Conv, Gemm or MatMul\n{self.note}"
        parts = (_table(self), _reasons(self.layers), _totals(self), [self.note])
        return "\n\n".join("\n".join(map(printable, lines)) for lines in parts)


def _has_name(layer: LayerEligibility, pattern: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in (layer.name, layer.weight or ""))


# ---- text ----


def _table(result: Eligibility) -> list[str]:
    head = ["layer", "operator", "weight", "shape", "dtype", "2:4", "verdict"]
    rows = [_row(layer) for layer in result.layers]
    if result.log is not None:
        head.append("in the log")
        rows = [[*row, _said(layer)] for row, layer in zip(rows, result.layers, strict=True)]
    return table_lines([head, *rows])


def _row(layer: LayerEligibility) -> list[str]:
    return [
        layer.name,
        layer.operator,
        layer.weight or "-",
        "-" if layer.shape is None else shape_text(layer.shape),
        layer.dtype or "-",
        "-" if layer.share is None else f"{layer.share:.1%}",
        layer.verdict,
    ]


def _said(layer: LayerEligibility) -> str:
    if layer.picked:
        return "sparse"
    if layer.logged_eligible:
        return "eligible" if layer.picked is None else "eligible, runs dense"
    return "no names" if layer.logged_eligible is None else "-"


def _reasons(layers: Sequence[LayerEligibility]) -> list[str]:
    """Return a line for each layer; a note that several have comes once, at the end."""
    counts = Counter(note for layer in layers for note in layer.notes)
    lines = [
        f"{layer.name}: {'; '.join((layer.why, *(n for n in layer.notes if counts[n] == 1)))}"
        for layer in layers
    ]
    shared = [f"{count} layers: {note}" for note, count in counts.items() if count > 1]
    return [*lines, *shared]


def _totals(result: Eligibility) -> list[str]:
    of = Counter(layer.verdict for layer in result.layers)
    counts = ", ".join(f"{of[verdict]} {verdict}" for verdict in get_args(Verdict) if of[verdict])
    lines = [f"{len(result.layers)} layers: {counts}"]
    log = result.log
    if log is None:
        return lines
    found, taken = (_count(n) for n in (log.eligible_count, log.picked_count))
    lines.append(f"the build log: {found} eligible, {taken} run by sparse kernels")
    if log.not_picked:
        lines.append(f"eligible, but a dense kernel was faster: {', '.join(log.not_picked)}")
    lines += [
        f"{layer.name}: not eligible by the log: built from another file?"
        for layer in result.layers
        if layer.logged_eligible is False and layer.verdict == "eligible"
    ]
    if result.unmatched:
        lines.append(f"in the log, but not in the file: {', '.join(result.unmatched)}")
    return lines


def _count(number: int | None) -> str:
    return "an unknown number" if number is None else str(number)
