"""From the report of a conversion to a page's part."""

import math
from collections.abc import Callable

from sparsecore.html_report.conversion import Conversion, ConvertedLayer
from sparsecore.html_report.numbers import (
    count,
    duration_text,
    nbytes_text,
    percent,
    ratio_text,
)
from sparsecore.html_report.page import (
    ABSENT,
    Cell,
    Column,
    Fact,
    Figure,
    Part,
    Section,
    Tone,
    tabulated,
)
from sparsecore.html_report.pair_chart import LEFT, RIGHT, Pair, pair_chart
from sparsecore.html_report.scales import spanning

__all__ = ["conversion_part"]

# Layers in the chart of times: those that take longest.
_MOST_TIMES = 16


def conversion_part(found: Conversion) -> Part:
    """Return the totals as facts, the layers as a table, and their times as a chart."""
    caption = "Each layer: what was measured, chosen, and why"
    table = tabulated(caption, _COLUMNS, found.layers) if found.layers else None
    sections = [Section("Layers", _about_layers(found), table)]
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


def _sparsity(layer: ConvertedLayer) -> Cell:
    if math.isnan(layer.sparsity):
        return Cell(ABSENT)
    return Cell(percent(layer.sparsity), layer.sparsity, min(layer.sparsity, 1.0))


def _chosen(layer: ConvertedLayer) -> Cell:
    words = layer.choice if layer.values is None else f"{layer.choice}, {layer.values}"
    return Cell(words, tone="good" if layer.choice != "dense" else "")


def _rows(layer: ConvertedLayer) -> Cell:
    if not layer.rows:
        return Cell(ABSENT)
    return Cell(", ".join(f"{rows:,}" for rows in layer.rows), max(layer.rows))


def _speedup(layer: ConvertedLayer) -> Cell:
    times = layer.seconds
    if layer.choice == "dense" or not {"dense", layer.choice} <= times.keys():
        return Cell(ABSENT)
    before, after = times["dense"], times[layer.choice]
    return Cell(ratio_text(before, after), before / after if after else None)


def _optional(value: float | None, words: Callable[[float], str]) -> Cell:
    return Cell(ABSENT) if value is None else Cell(words(value), value)


_COLUMNS: tuple[tuple[Column, Callable[[ConvertedLayer], Cell]], ...] = (
    (Column("Layer"), lambda layer: Cell(layer.name)),
    (Column("Chosen", "badge"), _chosen),
    (Column("Shape"), lambda layer: Cell(f"{layer.shape[0]} x {layer.shape[1]}")),
    (Column("Sparsity", "number"), _sparsity),
    (Column("Applied to rows", "number"), _rows),
    (Column("2:4 pattern"), lambda layer: Cell("yes" if layer.is_24 else "no")),
    (Column("Dense", "number"), lambda one: _optional(one.seconds.get("dense"), duration_text)),
    (Column("CSR", "number"), lambda one: _optional(one.seconds.get("csr"), duration_text)),
    (Column("2:4", "number"), lambda one: _optional(one.seconds.get("2:4"), duration_text)),
    (Column("Speed-up", "number"), _speedup),
    (Column("Bytes dense", "number"), lambda one: _optional(one.nbytes.get("dense"), nbytes_text)),
    (Column("Bytes now", "number"), lambda one: _optional(one.nbytes.get(one.choice), nbytes_text)),
    (Column("Error", "number"), lambda layer: _optional(layer.error, "{:.2g}".format)),
    (Column("Why", "sentence"), lambda layer: Cell(layer.why)),
)
