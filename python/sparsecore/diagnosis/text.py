"""A diagnosis as plain text: a table of numbers, then a sentence a layer, then the model."""

from collections.abc import Sequence

from sparsecore.diagnosis.diagnosis import Diagnosis, LayerDiagnosis, Summary
from sparsecore.diagnosis.estimate import Times
from sparsecore.durations import duration
from sparsecore.html_report.numbers import nbytes_text, percent
from sparsecore.text_table import table_lines

__all__ = ["COLUMNS", "cells", "heading", "sentences", "text", "totals"]

COLUMNS = ("weight", "shape", "dtype", "zeros", "2:4", "bytes", "csr", "rows", "dense", "sparse")
_BASES = {"seconds": "time", "macs": "multiplications", "weights": "weights"}


def text(diagnosis: Diagnosis) -> str:
    """Return the whole diagnosis."""
    rows = [list(COLUMNS), *(row for layer in diagnosis.layers for row in cells(layer))]
    table = table_lines(rows)
    verdicts = [f"{name}: {words}" for name, words in sentences(diagnosis.layers)]
    parts = [heading(diagnosis), "", *table, "", *verdicts, "", *totals(diagnosis.summary)]
    return "\n".join([*parts, *(f"note: {note}" for note in diagnosis.notes)])


def heading(diagnosis: Diagnosis) -> str:
    """Return the first line: what was looked at."""
    return f"{diagnosis.subject} ({diagnosis.kind}), {len(diagnosis.layers)} weights"


def cells(layer: LayerDiagnosis) -> list[list[str]]:
    """Return the rows of a layer in the order of `COLUMNS`: one for each number of rows."""
    facts = layer.facts
    shares = [facts.share_24.get(line, 0.0) for line in facts.lines_24 or tuple(facts.share_24)]
    known = [
        facts.name,
        " x ".join(map(str, facts.shape)),
        facts.dtype,
        percent(facts.sparsity),
        percent(max(shares)) if shares else "-",
        nbytes_text(facts.nbytes.stored),
        "-" if facts.nbytes.csr is None else nbytes_text(facts.nbytes.csr),
    ]
    if not layer.times:
        return [[*known, "-", "-", "-"]]
    first, *others = layer.times
    return [[*known, *_times(first)], *([""] * len(known) + _times(time) for time in others)]


def _times(time: Times) -> list[str]:
    sparse = {form: one for form, one in time.seconds.items() if form != "dense"}
    about = "" if time.measured else "~"
    best = min(sparse, key=lambda form: sparse[form], default=None)
    least = "-" if best is None else f"{about}{duration(sparse[best])} {best}"
    return [f"{time.rows:,}", f"{about}{duration(time.seconds['dense'])}", least]


def sentences(layers: Sequence[LayerDiagnosis]) -> list[tuple[str, str]]:
    """Return the name and all verdicts of each layer as one text."""
    return [(one.name, "; also: ".join(map(str, (one.verdict, *one.further)))) for one in layers]


def totals(summary: Summary) -> list[str]:
    """Return the lines about the whole model."""
    zeros = summary.zeros / summary.weights if summary.weights else 0.0
    lines = [
        f"verdict: {summary.verdict}",
        f"weights: {summary.weights:,}, {percent(zeros)} zeros; {nbytes_text(summary.nbytes)}, "
        f"{nbytes_text(summary.least_nbytes)} with each in its smallest form",
    ]
    basis = _BASES[summary.basis]
    gains = f"speed:   layers that a sparse form makes faster have {percent(summary.could_gain)}"
    if summary.could_gain == 0:
        lines.append(f"speed:   no layer that a sparse form is known to make faster ({basis})")
        return lines
    at_most = "" if summary.bound is None else f"; at most {summary.bound:.2f}x faster"
    expected = "" if summary.expected is None else f", {summary.expected:.2f}x by their times"
    lines.append(f"{gains} of the {basis}{at_most}{expected}, not counting what is no layer")
    return lines
