"""Charts of lines, levels and single dots, with labels beside them instead of a legend."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sparsecore.html_report.elements import Element, element
from sparsecore.html_report.marks import mark, series_class
from sparsecore.html_report.scales import Scale

__all__ = ["Axis", "Line", "Spot", "line_chart"]

HEIGHT = 260.0
LEFT, TOP, BOTTOM = 52.0, 30.0, 46.0
_LINE_HEIGHT = 14.0

Words = Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: its title, its scale, and how its values are written.

    The places of the scale are set by the chart.
    """

    title: str
    scale: Scale
    words: Words


@dataclass(frozen=True, slots=True)
class Line:
    """A series: points joined in their order; one without marks is a level, drawn dashed."""

    label: str
    points: tuple[tuple[float, float], ...]
    series: int
    level: bool = False


@dataclass(frozen=True, slots=True)
class Spot:
    """A single point that the chart is about, or a place on the x axis."""

    label: str
    x: float
    y: float
    series: int


def line_chart(
    describes: str,
    x: Axis,
    y: Axis,
    lines: Sequence[Line],
    spots: Sequence[Spot] = (),
    *,
    width: float = 400.0,
    characters: int = 10,
) -> Element:
    """Return an ``svg``.

    Parameters
    ----------
    describes : str
        What it shows, in words.
    x, y : Axis
    lines : sequence of Line
    spots : sequence of Spot
    width : float
        Of the drawing's own pixels; a narrower screen shows it smaller.
    characters : int
        Of the labels beside the lines; longer ones are cut.
    """
    x = replace(x, scale=replace(x.scale, start=LEFT, end=width - 15 - 7.5 * characters))
    y = replace(y, scale=replace(y.scale, start=HEIGHT - BOTTOM, end=TOP))
    return element(
        "svg",
        element("title", describes),
        *_grid(x, y),
        *(part for line in lines for part in _line(line, x, y)),
        *_end_labels(lines, x.scale, y.scale, characters),
        *(part for spot in spots for part in _spot(spot, x, y)),
        viewBox=f"0 0 {width:g} {HEIGHT:g}",
        role="img",
        class_="chart",
    )


# ---- axes ----


def _grid(x: Axis, y: Axis) -> list[Element]:
    floor, right = HEIGHT - BOTTOM, x.scale.end
    parts = [
        element("line", x1=LEFT, x2=right, y1=y.scale(tick), y2=y.scale(tick), class_="grid")
        for tick in y.scale.ticks
    ]
    parts += [
        element("text", y.words(tick), x=LEFT - 7, y=y.scale(tick) + 4, class_="tick left-of")
        for tick in y.scale.ticks
    ]
    parts.append(element("line", x1=LEFT, x2=right, y1=floor, y2=floor, class_="axis"))
    for tick in x.scale.ticks:
        at = x.scale(tick)
        parts.append(element("line", x1=at, x2=at, y1=floor, y2=floor + 4, class_="axis"))
        parts.append(element("text", x.words(tick), x=at, y=floor + 17, class_="tick middle"))
    middle = (LEFT + right) / 2
    parts.append(element("text", x.title, x=middle, y=HEIGHT - 8, class_="axis-title middle"))
    parts.append(element("text", y.title, x=2, y=12, class_="axis-title"))
    return parts


# ---- what is drawn on them ----


def _line(line: Line, x: Axis, y: Axis) -> list[Element]:
    places = [(x.scale(a), y.scale(b)) for a, b in line.points]
    path = "M" + "L".join(f"{a:.2f},{b:.2f}" for a, b in places)
    kind = "level" if line.level else "line"
    drawn = [element("path", d=path, class_=f"{kind} {series_class(line.series)}")]
    if not line.level:
        drawn += [
            mark(*place, line.series, f"{line.label}: {x.words(point[0])}, {y.words(point[1])}")
            for place, point in zip(places, line.points, strict=True)
        ]
    return drawn


def _end_labels(lines: Sequence[Line], x: Scale, y: Scale, characters: int) -> list[Element]:
    """Return the labels to the right of the lines' ends, moved apart where they would overlap."""
    ordered = sorted(lines, key=lambda line: y(line.points[-1][1]))
    places = apart([y(line.points[-1][1]) for line in ordered], TOP + 4, HEIGHT - BOTTOM)
    return [
        part
        for line, place in zip(ordered, places, strict=True)
        for part in _end_label(line, x, y, place, characters)
    ]


def _end_label(line: Line, x: Scale, y: Scale, place: float, characters: int) -> list[Element]:
    end, at = x.end, line.points[-1]
    is_cut = len(line.label) > characters
    start = x(at[0]) + (0 if line.level else 6)
    return [
        element(
            "path",
            d=f"M{start:.2f},{y(at[1]):.2f}L{end + 10:g},{place:.2f}",
            class_=f"leader {series_class(line.series)}",
        ),
        element(
            "text",
            f"{line.label[: characters - 1]}…" if is_cut else line.label,
            element("title", line.label),
            x=end + 13,
            y=place + 4,
            class_=f"label {series_class(line.series)}",
        ),
    ]


def _spot(spot: Spot, x: Axis, y: Axis) -> list[Element]:
    at, height = x.scale(spot.x), y.scale(spot.y)
    floor = HEIGHT - BOTTOM
    # Times rise with density: there is room to the right below the line, to the left above it.
    is_right = at > (LEFT + x.scale.end) / 2
    is_above = (is_right and height > TOP + _LINE_HEIGHT) or height > floor - 2 * _LINE_HEIGHT
    return [
        element("line", x1=at, x2=at, y1=height, y2=floor, class_="drop"),
        mark(at, height, spot.series, spot.label, large=True),
        element(
            "text",
            spot.label,
            x=at + (-11 if is_right else 11),
            y=height + (-9 if is_above else 18),
            class_=f"label halo {series_class(spot.series)}{' left-of' if is_right else ''}",
        ),
    ]


def apart(places: Sequence[float], low: float, high: float) -> list[float]:
    """Move rising places apart by a line's height, within [low, high] where they fit.

    Examples
    --------
    >>> apart([50.0, 52.0, 90.0], 0.0, 100.0)
    [50.0, 64.0, 90.0]
    >>> apart([95.0, 99.0], 0.0, 100.0)
    [86.0, 100.0]
    """
    moved: list[float] = []
    for place in places:
        moved.append(max(place, low, moved[-1] + _LINE_HEIGHT if moved else low))
    limit = high
    for i in reversed(range(len(moved))):
        moved[i] = min(moved[i], limit)
        limit = moved[i] - _LINE_HEIGHT
    return moved


def shortened(text: str, most: int) -> str:
    """Return at most so many characters of a text: its end, where it is cut.

    Names of layers differ at their ends.

    Examples
    --------
    >>> shortened("encoder.layer.11.output.dense", 14), shortened("fc", 14)
    ('…output.dense', 'fc')
    """
    return text if len(text) <= most else "…" + text[1 - most :].lstrip(".")
