"""From a diagnosis to a page's part: what holds each layer back."""

from collections.abc import Callable

from sparsecore.html_report.diagnosis import (
    DiagnosisSummary,
    Finding,
    ReadDiagnosis,
    Times,
    Verdict,
)
from sparsecore.html_report.numbers import count, duration_text, nbytes_text, percent
from sparsecore.html_report.page import (
    ABSENT,
    Cell,
    Column,
    Fact,
    Figure,
    Part,
    Section,
    Table,
    tabulated,
)
from sparsecore.html_report.pair_chart import LEFT, RIGHT, Pair, pair_chart
from sparsecore.html_report.scales import Scale

__all__ = ["diagnosis_part"]

# Layers in the chart of break-evens: the largest ones.
_MOST_PAIRS = 16


def diagnosis_part(found: ReadDiagnosis) -> Part:
    """Return the summary as facts, the layers as a table, and how far they are from gaining."""
    summary, layers = found.summary, found.layers
    verdict = summary.verdict
    advice = (f"To do: {verdict.advice}.",) * bool(verdict.advice)
    text = (f"{verdict.sentence[:1].upper()}{verdict.sentence[1:]}.", *advice, *found.notes)
    sections = [Section("Diagnosis", text, _shares(found) if summary.shares else None)]
    if pairs := _pairs(layers):
        sections.append(_distances(pairs))
    caption = "Each weight; times with ~ are estimates for this machine"
    table = tabulated(caption, _COLUMNS, layers) if layers else None
    sections.append(Section("Layers, and what holds them back", (), table))
    return Part(_facts(summary), tuple(sections))


def _facts(summary: DiagnosisSummary) -> tuple[Fact, ...]:
    verdict, least = summary.verdict, nbytes_text(summary.least_nbytes)
    zeros = summary.zeros / summary.weights if summary.weights else 0.0
    expected = "" if summary.expected is None else f"; {summary.expected:.2f}x by their times"
    bound = "" if summary.bound is None else f"; {summary.bound:.2f}x were sparse work free"
    gain = f"of the {summary.basis}{expected}{bound}"
    return (
        Fact("Verdict", verdict.words, "what holds back most of the model", verdict.tone),
        Fact("Zeros", percent(zeros), f"of {summary.weights:,} weights"),
        Fact("Bytes", nbytes_text(summary.nbytes), f"{least} with each in its smallest form"),
        Fact("Could gain", percent(summary.could_gain), gain, "good" if summary.could_gain else ""),
    )


def _shares(found: ReadDiagnosis) -> Table:
    columns = (
        Column("Verdict"),
        Column(f"Share of the {found.summary.basis}", "number"),
        Column("Layers", "number"),
    )
    rows = []
    for code, part in found.summary.shares.items():
        layers = sum(layer.verdict.code == code for layer in found.layers)
        share = Cell(percent(part), part, min(part, 1.0))
        rows.append((Cell(Verdict(code, "", "").words), share, Cell(f"{layers:,}", layers)))
    return Table("What holds the layers back, by the work in them", columns, tuple(rows))


def _pairs(layers: tuple[Finding, ...]) -> list[Pair]:
    """Return the density of each pruned layer beside its break-even, the largest layers first."""
    pruned = [layer for layer in layers if layer.sparsity > 0 and layer.times]
    pruned.sort(key=lambda layer: -layer.nbytes)
    known = ((layer, layer.times[-1].breakeven) for layer in pruned)
    return [_pair(layer, limit) for layer, limit in known if limit is not None]


def _pair(layer: Finding, limit: float) -> Pair:
    density = 1 - layer.sparsity
    rows = count(layer.times[-1].rows, "row")
    return Pair(
        name=layer.name,
        reference=limit,
        value=density,
        reference_words=f"breaks even at {percent(limit)} kept, for {rows}",
        value_words=f"{percent(density)} kept",
        remark="sparse" if density < limit else "dense",
        tone="good" if density < limit else "bad",
    )


def _distances(pairs: list[Pair]) -> Section:
    shown = pairs[:_MOST_PAIRS]
    drawing = pair_chart(
        f"Density of {count(len(shown), 'layer')}, and the density where each breaks even",
        "density: weights kept",
        Scale(0.0, 1.0, LEFT, RIGHT),
        lambda part: f"{100 * part:.3g} %",
        shown,
    )
    notes = [
        "Circle: the layer. Square: its break-even, an estimate. Left of the square, sparse is "
        "the faster one."
    ]
    if len(shown) < len(pairs):
        notes.append(f"The {len(shown)} largest of {count(len(pairs), 'pruned layer')}.")
    return Section(
        "How far from gaining", figures=(Figure("Density and break-even", drawing, tuple(notes)),)
    )


# ---- the table ----


def _joined(layer: Finding, words: Callable[[Times], tuple[str, float | None]]) -> Cell:
    """Return what there is for each number of rows; it is sorted by the last."""
    found = [words(times) for times in layer.times]
    if not found:
        return Cell(ABSENT)
    return Cell(" / ".join(text for text, _ in found), found[-1][1])


def _time(times: Times, seconds: float | None, form: str) -> tuple[str, float | None]:
    if seconds is None:
        return ABSENT, None
    about = "" if times.measured else "~"
    return f"{about}{duration_text(seconds)} {form}".rstrip(), seconds


def _limit(times: Times) -> tuple[str, float | None]:
    limit = times.breakeven
    return (ABSENT if limit is None else percent(limit)), limit


def _csr(layer: Finding) -> Cell:
    nbytes = layer.csr_nbytes
    return Cell(ABSENT) if nbytes is None else Cell(nbytes_text(nbytes), nbytes)


def _sparse(times: Times) -> tuple[str, float | None]:
    return _time(times, *(times.best_sparse or (None, "")))


_COLUMNS: tuple[tuple[Column, Callable[[Finding], Cell]], ...] = (
    (Column("Weight"), lambda layer: Cell(layer.name)),
    (Column("Verdict", "badge"), lambda one: Cell(one.verdict.words, tone=one.verdict.tone)),
    (Column("Why", "sentence"), lambda layer: Cell(layer.verdict.sentence)),
    (Column("To do", "sentence"), lambda layer: Cell(layer.verdict.advice or ABSENT)),
    (Column("Shape"), lambda layer: Cell(" x ".join(map(str, layer.shape)))),
    (Column("Stored"), lambda layer: Cell(f"{layer.dtype}, {layer.stored}")),
    (
        Column("Zeros", "number"),
        lambda one: Cell(percent(one.sparsity), one.sparsity, min(one.sparsity, 1.0)),
    ),
    (Column("Bytes", "number"), lambda layer: Cell(nbytes_text(layer.nbytes), layer.nbytes)),
    (Column("Bytes as CSR", "number"), _csr),
    (Column("Rows", "number"), lambda layer: _joined(layer, lambda t: (f"{t.rows:,}", t.rows))),
    (
        Column("Dense", "number"),
        lambda layer: _joined(layer, lambda times: _time(times, times.seconds.get("dense"), "")),
    ),
    (Column("Sparse", "number"), lambda layer: _joined(layer, _sparse)),
    (Column("Break-even", "number"), lambda layer: _joined(layer, _limit)),
    (
        Column("Also", "sentence"),
        lambda layer: Cell("; ".join(one.sentence for one in layer.further) or ABSENT),
    ),
)
