"""From a table of accuracy against sparsity to a page's part."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from sparsecore.files.header_fields import Fields
from sparsecore.html_report.elements import Element
from sparsecore.html_report.line_chart import Axis, Line, line_chart
from sparsecore.html_report.numbers import percent
from sparsecore.html_report.page import ABSENT, Cell, Column, Figure, Part, Section, Table
from sparsecore.html_report.scales import Scale, linear_ticks

__all__ = ["Accuracy", "accuracy_part", "read_accuracy"]


Means: TypeAlias = dict[str, tuple[tuple[float, float], ...]]


@dataclass(frozen=True, slots=True)
class Accuracy:
    """One measured accuracy.

    Attributes
    ----------
    label : str
        Of the series, such as the way of pruning.
    sparsity, accuracy : float
        In [0, 1].
    """

    label: str
    sparsity: float
    accuracy: float


def read_accuracy(content: Any, place: str) -> tuple[Accuracy, ...]:
    """Return the points of an array of [label, sparsity, accuracy].

    Raises
    ------
    ValueError
        If `content` is something else; begins with `place`.
    """
    if not isinstance(content, Iterable) or isinstance(content, str | dict):
        msg = f"{place} is {content!r:.80}, expected an array of [label, sparsity, accuracy]"
        raise ValueError(msg)
    return tuple(_point(point, f"{place}: point {i}") for i, point in enumerate(content))


def _point(point: Any, place: str) -> Accuracy:
    if not isinstance(point, list | tuple) or len(point) != 3:
        msg = f"{place} is {point!r:.80}, expected [label, sparsity, accuracy]"
        raise ValueError(msg)
    fields = Fields(dict(zip(("label", "sparsity", "accuracy"), point, strict=True)), place)
    found = Accuracy(
        fields.text(point[0], "label"), fields.number("sparsity"), fields.number("accuracy")
    )
    for name, value in (("sparsity", found.sparsity), ("accuracy", found.accuracy)):
        if value > 1:
            msg = f"{place}: {name} is {value:g}, expected a fraction of at most 1"
            raise ValueError(msg)
    return found


def accuracy_part(points: Iterable[Accuracy]) -> Part:
    """Return the chart and the table of accuracies; of several at one sparsity, their mean."""
    series: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for point in points:
        series[point.label][point.sparsity].append(point.accuracy)
    means: Means = {
        label: tuple((x, sum(values) / len(values)) for x, values in sorted(by_sparsity.items()))
        for label, by_sparsity in series.items()
    }
    if not means:
        return Part()
    runs = {len(values) for by_sparsity in series.values() for values in by_sparsity.values()}
    figure = Figure("Accuracy against sparsity", _chart(means))
    return Part(sections=(Section("Accuracy", (), _table(means, max(runs)), (figure,)),))


def _table(means: Means, runs: int) -> Table:
    """Return a row a series, a column a sparsity; `runs` is the most that a mean is of.

    Where most cells would be empty, a row is one accuracy.
    """
    caption = "Accuracy by sparsity" + (f", means of up to {runs} runs" if runs > 1 else "")
    sparsities = sorted({x for line in means.values() for x, _ in line})
    if 2 * sum(map(len, means.values())) < len(means) * len(sparsities):
        return _list(means, caption)
    rows = []
    for label, line in means.items():
        found = dict(line)
        cells = [
            Cell(percent(found[x]), found[x]) if x in found else Cell(ABSENT) for x in sparsities
        ]
        rows.append((Cell(label), *cells))
    columns = (Column("Series"), *(Column(percent(x), "number") for x in sparsities))
    return Table(caption, columns, tuple(rows))


def _list(means: Means, caption: str) -> Table:
    columns = (Column("Series"), Column("Sparsity", "number"), Column("Accuracy", "number"))
    rows = tuple(
        (Cell(label), Cell(percent(x), x), Cell(percent(y), y))
        for label, line in means.items()
        for x, y in line
    )
    return Table(caption, columns, rows)


def _chart(means: Means) -> Element:
    accuracies = [y for line in means.values() for _, y in line]
    sparsities = [x for line in means.values() for x, _ in line]
    names = ", ".join(means)
    chart = line_chart(
        f"Accuracy against sparsity: {names}",
        Axis("sparsity: weights that are zero", _wider(sparsities), _percents),
        Axis("accuracy", _wider(accuracies), _percents),
        [Line(label, line, i) for i, (label, line) in enumerate(means.items())],
        width=520.0,
        characters=max(5, min(20, max(map(len, means)))),
    )
    chart.set("class", "chart wide")
    return chart


def _wider(values: list[float]) -> Scale:
    """Return a scale over the values, from tick to tick, within [0, 1]."""
    low, high = min(values), max(values)
    if high - low < 0.01:
        low, high = max(low - 0.05, 0.0), min(high + 0.05, 1.0)
    ticks = linear_ticks(low, high)
    step = ticks[1] - ticks[0]
    low = ticks[0] if ticks[0] <= low else ticks[0] - step
    high = ticks[-1] if ticks[-1] >= high else ticks[-1] + step
    return Scale(max(low, 0.0), min(high, 1.0), 0.0, 1.0)


def _percents(part: float) -> str:
    return f"{100 * part:.4g} %"
