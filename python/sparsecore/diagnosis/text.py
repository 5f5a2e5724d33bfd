"""A diagnosis as plain text: a table of numbers, then a sentence a layer, then the model."""

from collections.abc import Sequence

from sparsecore.diagnosis.diagnosis import Diagnosis, LayerDiagnosis, Summary
from sparsecore.diagnosis.estimate import Times
from sparsecore.diagnosis.words import printable
from sparsecore.durations import duration
from sparsecore.html_report.numbers import nbytes_text, percent
from sparsecore.text_table import shape_text, table_lines

__all__ = ["COLUMNS", "cells", "heading", "is_plain", "plain_words", "text", "totals"]

COLUMNS = ("weight", "shape", "dtype", "zeros", "2:4", "bytes", "csr", "rows", "dense", "sparse")
_BASES = {"seconds": "time", "macs": "multiplications", "weights": "weights"}


def text(diagnosis: Diagnosis) -> str:
    """Return the whole diagnosis."""
    rows = [list(COLUMNS), *(row for layer in diagnosis.layers for row in cells(layer))]
    table = table_lines(rows)
    verdicts = [_sentence(layer) for layer in diagnosis.layers if not is_plain(layer)]
    plain = plain_words(diagnosis.layers)
    parts = [heading(diagnosis), "", *table, "", *verdicts, *plain]
    notes = [f"note: {note}" for note in diagnosis.notes]
    return "\n".join([*parts, "", *totals(diagnosis.summary), *notes])


def heading(diagnosis: Diagnosis) -> str:
    """Return the first line: what was looked at."""
    count = f"{len(diagnosis.layers)} weights"
    return f"{printable(diagnosis.subject)} ({diagnosis.kind}), {count}"


def cells(layer: LayerDiagnosis) -> list[list[str]]:
    """Return the rows of a layer in the order of `COLUMNS`: one for each number of rows."""
    facts = layer.facts
    lines = facts.lines_24 or tuple(facts.share_24)
    shares = [facts.share_24[line] for line in lines if line in facts.share_24]
    known = [
        printable(facts.name),
        shape_text(facts.shape),
        printable(facts.dtype),
        percent(facts.sparsity) if facts.counted else "-",
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


def _sentence(layer: LayerDiagnosis) -> str:
    """Return the name and all verdicts of a layer as one text."""
    verdicts = "; also: ".join(map(str, (layer.verdict, *layer.further)))
    return printable(f"{layer.name}: {verdicts}")


def is_plain(layer: LayerDiagnosis) -> bool:
    """Whether all that there is to say of a layer is that it has no zeros."""
    return layer.verdict.code == "no-zeros" and not layer.further


def plain_words(layers: Sequence[LayerDiagnosis]) -> list[str]:
    """Return one line for all layers that have no zeros; none where there are none."""
    count = sum(map(is_plain, layers))
    if count == 0:
        return []
    weights = "1 weight has" if count == 1 else f"{count} weights have"
    return [f"{weights} no zeros: nothing to gain until pruned"]


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
