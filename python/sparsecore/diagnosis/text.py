"""A diagnosis as plain text: the model, then a table of numbers, then what was found."""

import textwrap
from collections.abc import Iterable, Sequence

from sparsecore.diagnosis.diagnosis import Diagnosis, LayerDiagnosis, Summary
from sparsecore.diagnosis.estimate import Times
from sparsecore.diagnosis.grouping import groups, is_plain, shared_suffix
from sparsecore.diagnosis.words import printable
from sparsecore.durations import duration
from sparsecore.html_report.numbers import nbytes_text, percent
from sparsecore.text_table import shape_text, table_lines

__all__ = ["heading", "plain_words", "table", "text", "totals"]

COLUMNS = ("weight", "shape", "dtype", "zeros", "2:4", "bytes", "csr", "rows", "dense", "sparse")
_WIDTH = 100
_BASES = {"seconds": "time", "macs": "multiplications", "weights": "weights"}


def text(diagnosis: Diagnosis) -> str:
    """Return the whole diagnosis."""
    parts = [heading(diagnosis), *_wrapped(totals(diagnosis.summary))]
    if diagnosis.layers:
        parts += ["", *table_lines(table(diagnosis.layers))]
    for group in groups(diagnosis.layers):
        parts += ["", *_wrapped([f"{group.code}: {group.title}"])]
        parts += [f"  {line}" for line in _wrapped(group.lines)]
    parts += ["", *plain_words(diagnosis.layers)]
    return "\n".join([*parts, *_wrapped(f"note: {note}" for note in diagnosis.notes)])


def _wrapped(lines: Iterable[str]) -> list[str]:
    """Return lines of a width that is read easily; words are never broken."""
    return [
        part
        for line in lines
        for part in textwrap.wrap(
            line, _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
        )
    ]


def heading(diagnosis: Diagnosis) -> str:
    """Return the first line: what was looked at."""
    count = f"{len(diagnosis.layers)} weights"
    return f"{printable(diagnosis.subject)} ({diagnosis.kind}), {count}"


def table(layers: Sequence[LayerDiagnosis]) -> list[list[str]]:
    """Return a table of layers, its head first; without columns that would be empty.

    A last part that all names share, such as ".weight", is in the head and not in the rows.
    """
    suffix = printable(shared_suffix(layers))
    head = [f"{COLUMNS[0]} (all: {suffix})" if suffix else COLUMNS[0], *COLUMNS[1:]]
    rows = [[row[0].removesuffix(suffix), *row[1:]] for layer in layers for row in _cells(layer)]
    filled = [i for i in range(len(COLUMNS)) if any(row[i] not in ("", "-") for row in rows)]
    return [[row[i] for i in filled] for row in (head, *rows)]


def _cells(layer: LayerDiagnosis) -> list[list[str]]:
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
        f"verdict: {summary.verdict.code}: {summary.verdict}",
        f"weights: {summary.weights:,}, {percent(zeros)} zeros; {nbytes_text(summary.nbytes)}, "
        f"{nbytes_text(summary.least_nbytes)} with each in its smallest form",
    ]
    basis = _BASES[summary.basis]
    gains = f"speed:   layers that a sparse form makes faster have {percent(summary.could_gain)}"
    if summary.could_gain == 0:
        lines.append(f"speed:   no layer that a sparse form is known to make faster ({basis})")
        return lines
    expected = "" if summary.expected is None else f"; {summary.expected:.2f}x by their times"
    bound = "" if summary.bound is None else f"; {summary.bound:.2f}x were sparse work free"
    lines.append(f"{gains} of the {basis}{expected}{bound}; not counting what is no layer")
    return lines
