"""From the report of a conversion to a page's part."""

import math
from dataclasses import dataclass
from typing import Any

from sparsecore.files.header_fields import Fields
from sparsecore.html_report.before_after import Times, before_after
from sparsecore.html_report.numbers import (
    ABSENT,
    count,
    duration_text,
    nbytes_text,
    percent,
    ratio_text,
)
from sparsecore.html_report.page import Cell, Column, Fact, Figure, Part, Section, Table, Tone

__all__ = ["Conversion", "conversion_part", "read_conversion"]

_FORMATS = ("dense", "csr", "2:4")
# Layers in the chart of times: those that take longest.
_MOST_TIMES = 16


@dataclass(frozen=True, slots=True)
class ConvertedLayer:
    """What a page shows of one layer; the names are those of ``sparsecore.nn.LayerReport``."""

    name: str
    shape: tuple[int, int]
    sparsity: float
    is_24: bool
    rows: tuple[int, ...]
    seconds: dict[str, float]
    nbytes: dict[str, float]
    error: float | None
    choice: str
    why: str
    values: str | None

    @property
    def size(self) -> int:
        """Number of weights."""
        return self.shape[0] * self.shape[1]


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a page shows of a conversion; the names are those of ``sparsecore.nn.Report``."""

    layers: tuple[ConvertedLayer, ...]
    seconds_before: float | None
    seconds_after: float | None
    seconds_fused: float | None
    bytes_before: int
    bytes_after: int
    max_error: float
    fused: str
    already_sparse: tuple[str, ...]


def read_conversion(content: Any, place: str) -> Conversion:
    """Return what ``sparsecore.nn.Report.to_dict`` wrote.

    Raises
    ------
    ValueError
        If `content` is something else; begins with `place`.
    """
    fields = Fields(content, place)
    return Conversion(
        layers=tuple(map(_layer, fields.objects("layers"))),
        seconds_before=fields.number_or_none("seconds_before"),
        seconds_after=fields.number_or_none("seconds_after"),
        seconds_fused=fields.number_or_none("seconds_fused"),
        bytes_before=fields.natural("bytes_before"),
        bytes_after=fields.natural("bytes_after"),
        max_error=_or_nan(fields.number_or_none("max_error")),
        fused=fields.text(fields.get("fused", ""), "fused"),
        already_sparse=tuple(
            fields.text(name, "already_sparse") for name in fields.array("already_sparse")
        ),
    )


def _layer(fields: Fields) -> ConvertedLayer:
    rows, columns = fields.naturals("shape", (2,))
    values = fields.get("values")
    return ConvertedLayer(
        name=fields.text(fields.get("name"), "name"),
        shape=(rows, columns),
        sparsity=_or_nan(fields.number_or_none("sparsity")),
        is_24=fields.flag(fields.get("is_24"), "is_24"),
        rows=fields.naturals("rows", (len(fields.array("rows")),)),
        seconds=_by_format(fields.within("seconds")),
        nbytes=_by_format(fields.within("nbytes")),
        error=fields.number_or_none("error"),
        choice=fields.one_of(fields.get("choice"), "choice", _FORMATS),
        why=fields.text(fields.get("why"), "why"),
        values=None if values is None else fields.text(values, "values"),
    )


def _by_format(fields: Fields) -> dict[str, float]:
    return {name: fields.number(name) for name in _FORMATS if name in fields}


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


# ---- the part ----


def conversion_part(found: Conversion) -> Part:
    """Return the totals as facts, the layers as a table, and their times as a chart."""
    sections = [Section("Layers", _about_layers(found), _table(found) if found.layers else None)]
    measured = [layer for layer in found.layers if _sparse_times(layer)]
    if measured:
        sections.insert(0, _times(measured))
    return Part(tuple(_facts(found)), tuple(sections))


def _facts(found: Conversion) -> list[Fact]:
    facts = [*_time(found), _bytes(found)]
    known = [layer for layer in found.layers if not math.isnan(layer.sparsity)]
    if size := sum(layer.size for layer in known):
        zeros = sum(layer.sparsity * layer.size for layer in known)
        facts.append(Fact("Sparsity", percent(zeros / size), f"of {size:,} weights in the layers"))
    sparse = sum(layer.choice != "dense" for layer in found.layers)
    facts.append(Fact("Layers that run sparse", f"{sparse} of {len(found.layers)}"))
    if not math.isnan(found.max_error):
        note = "largest difference of outputs, relative to the largest output"
        facts.append(Fact("Error", f"{found.max_error:.2g}", note))
    return facts


def _time(found: Conversion) -> list[Fact]:
    before, after = found.seconds_before, found.seconds_after
    if before is None or after is None:
        return [Fact("Time", "not measured", "the formats were given, not chosen by time")]
    tone: Tone = "good" if after < before else ""
    change = f"{ratio_text(before, after)} as fast as dense" if after < before else "not faster"
    if found.seconds_fused is not None:
        change += f"; dense, but fused: {duration_text(found.seconds_fused)}"
    return [
        Fact("Time of one run", _change(duration_text(before), duration_text(after)), change, tone)
    ]


def _bytes(found: Conversion) -> Fact:
    before, after = found.bytes_before, found.bytes_after
    tone: Tone = "good" if after < before else "bad" if after > before else ""
    note = f"{percent(after / before)} of before" if before else ""
    return Fact("Memory", _change(nbytes_text(before), nbytes_text(after)), note, tone)


def _change(before: str, after: str) -> str:
    """Return one value or two, broken between lines at the arrow only."""
    text = f"{before} → {after}" if before != after else before
    return text.replace(" ", "\N{NO-BREAK SPACE}").replace("→\N{NO-BREAK SPACE}", "→ ")


def _about_layers(found: Conversion) -> tuple[str, ...]:
    text = []
    if not found.layers:
        text.append("There was no linear layer or convolution to convert.")
    if found.fused:
        text.append(f"Fused for running: {found.fused}.")
    if found.already_sparse:
        text.append(f"Sparse before: {', '.join(found.already_sparse)}.")
    return tuple(text)


def _times(layers: list[ConvertedLayer]) -> Section:
    slowest = sorted(layers, key=lambda layer: -layer.seconds["dense"])[:_MOST_TIMES]
    times = [
        Times(layer.name, layer.seconds["dense"], seconds, form)
        for layer in slowest
        for seconds, form in [min(_sparse_times(layer))]
    ]
    describes = f"Time of {count(len(times), 'layer')}, dense and in the fastest sparse form"
    notes = ["Square: dense. Circle: the fastest sparse form, whether or not it was chosen."]
    if len(times) < len(layers):
        notes.append(f"The {len(times)} slowest of {count(len(layers), 'measured layer')}.")
    figure = Figure(
        "Each layer alone, dense and sparse", before_after(describes, times), tuple(notes)
    )
    return Section("Where sparsity pays", figures=(figure,))


def _sparse_times(layer: ConvertedLayer) -> list[tuple[float, str]]:
    """Return the seconds of the sparse forms with their names, where dense was measured, too."""
    if "dense" not in layer.seconds:
        return []
    return [(layer.seconds[form], form) for form in ("csr", "2:4") if form in layer.seconds]


# ---- the table ----


def _table(found: Conversion) -> Table:
    is_timed = any(layer.seconds for layer in found.layers)
    has_error = any(layer.error is not None for layer in found.layers)
    columns = [Column("Layer"), Column("Chosen", "badge"), Column("Shape")]
    columns += [Column(title, "number") for title in ("Sparsity", "Applied to rows")]
    columns += [Column("2:4 pattern")]
    if is_timed:
        columns += [Column(t, "number") for t in ("Dense", "CSR", "2:4", "Speed-up")]
    columns += [Column(title, "number") for title in ("Bytes dense", "Bytes now")]
    columns += [Column("Error", "number")] * has_error
    columns.append(Column("Why", "sentence"))
    rows = tuple(_row(layer, is_timed, has_error) for layer in found.layers)
    return Table("Each layer: what was measured, chosen, and why", tuple(columns), rows)


def _row(layer: ConvertedLayer, is_timed: bool, has_error: bool) -> tuple[Cell, ...]:
    is_known = not math.isnan(layer.sparsity)
    is_sparse = layer.choice != "dense"
    chosen = layer.choice if layer.values is None else f"{layer.choice}, {layer.values}"
    cells = [
        Cell(layer.name),
        Cell(chosen, tone="good" if is_sparse else ""),
        Cell(f"{layer.shape[0]} x {layer.shape[1]}"),
        Cell(
            percent(layer.sparsity),
            layer.sparsity if is_known else None,
            layer.sparsity if is_known else None,
        ),
        Cell(
            ", ".join(f"{rows:,}" for rows in layer.rows) or ABSENT,
            max(layer.rows) if layer.rows else None,
        ),
        Cell("yes" if layer.is_24 else "no"),
    ]
    if is_timed:
        cells += [_optional(layer.seconds.get(name), duration_text) for name in _FORMATS]
        cells.append(_speedup(layer))
    cells += [_optional(layer.nbytes.get(name), nbytes_text) for name in ("dense", layer.choice)]
    if has_error:
        cells.append(_optional(layer.error, "{:.2g}".format))
    return (*cells, Cell(layer.why))


def _speedup(layer: ConvertedLayer) -> Cell:
    times = layer.seconds
    if layer.choice == "dense" or not {"dense", layer.choice} <= times.keys():
        return Cell(ABSENT)
    before, after = times["dense"], times[layer.choice]
    return Cell(ratio_text(before, after), before / after if after else None)


def _optional(value: float | None, words: Any) -> Cell:
    return Cell(ABSENT) if value is None else Cell(words(value), value)
