"""From the report of a conversion to a page's part."""

import math
from collections.abc import Callable

from sparsecore.html_report.conversion import FORMATS, Conversion, ConvertedLayer
from sparsecore.html_report.numbers import (
    ABSENT,
    count,
    duration_text,
    nbytes_text,
    percent,
    ratio_text,
)
from sparsecore.html_report.page import Cell, Column, Fact, Figure, Part, Section, Table, Tone
from sparsecore.html_report.pair_chart import LEFT, RIGHT, Pair, pair_chart
from sparsecore.html_report.scales import spanning

__all__ = ["conversion_part"]

# Layers in the chart of times: those that take longest.
_MOST_TIMES = 16


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
    pairs = [_pair(layer) for layer in slowest]
    scale = spanning([time for pair in pairs for time in (pair.reference, pair.value)], LEFT, RIGHT)
    drawing = pair_chart(
        f"Time of {count(len(pairs), 'layer')}, dense and in the fastest sparse form",
        "median time in one run" + (", logarithmic" if scale.log else ""),
        scale,
        lambda seconds: duration_text(seconds) if seconds else "0",
        pairs,
    )
    notes = ["Square: dense. Circle: the fastest sparse form, whether or not it was chosen."]
    if len(pairs) < len(layers):
        notes.append(f"The {len(pairs)} slowest of {count(len(layers), 'measured layer')}.")
    figure = Figure("Each layer alone, dense and sparse", drawing, tuple(notes))
    return Section("Where sparsity pays", figures=(figure,))


def _pair(layer: ConvertedLayer) -> Pair:
    dense = layer.seconds["dense"]
    sparse, form = min(_sparse_times(layer))
    return Pair(
        name=layer.name,
        reference=dense,
        value=sparse,
        reference_words=f"dense {duration_text(dense)}",
        value_words=f"{form} {duration_text(sparse)}",
        remark=ratio_text(dense, sparse),
        tone="good" if sparse < dense else "bad",
    )


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
        cells += [_optional(layer.seconds.get(name), duration_text) for name in FORMATS]
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


def _optional(value: float | None, words: Callable[[float], str]) -> Cell:
    return Cell(ABSENT) if value is None else Cell(words(value), value)
