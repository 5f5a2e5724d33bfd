"""A chart of pairs: a reference and a value on one line each, and what becomes of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sparsecore.html_report.elements import Element, element
from sparsecore.html_report.line_chart import shortened
from sparsecore.html_report.marks import mark
from sparsecore.html_report.page import Tone
from sparsecore.html_report.scales import Scale

__all__ = ["LEFT", "RIGHT", "Pair", "pair_chart"]

_WIDTH, _ROW, _TOP, _BOTTOM = 440.0, 36.0, 8.0, 44.0
LEFT, RIGHT = 10.0, 374.0  # the ends of the scale
_REFERENCE, _VALUE = 1, 0  # series


@dataclass(frozen=True, slots=True)
class Pair:
    """One line of the chart.

    Attributes
    ----------
    name : str
    reference, value : float
        Drawn as a square and a circle.
    reference_words, value_words : str
        What these are, shown where a pointer rests on them.
    remark : str
        At the right end, short.
    tone : {"", "good", "bad"}
        Of the remark.
    """

    name: str
    reference: float
    value: float
    reference_words: str
    value_words: str
    remark: str
    tone: Tone


def pair_chart(
    describes: str, axis: str, scale: Scale, words: Callable[[float], str], pairs: Sequence[Pair]
) -> Element:
    """Return an ``svg`` with a line a pair.

    Parameters
    ----------
    describes : str
        What it shows, in words.
    axis : str
        The title of the axis.
    scale : Scale
        From `LEFT` to `RIGHT`.
    words : callable
        Writes a value of the axis.
    pairs : sequence of Pair
    """
    floor = _TOP + _ROW * len(pairs)
    rows = (
        part for i, pair in enumerate(pairs) for part in _row(pair, scale, _TOP + _ROW * i + 24)
    )
    return element(
        "svg",
        element("title", describes),
        *_axis(axis, scale, words, floor),
        *rows,
        viewBox=f"0 0 {_WIDTH:g} {floor + _BOTTOM:g}",
        role="img",
        class_="chart wide",
    )


def _axis(title: str, scale: Scale, words: Callable[[float], str], floor: float) -> list[Element]:
    parts: list[Element] = []
    for tick in scale.ticks:
        at = scale(tick)
        parts.append(element("line", x1=at, x2=at, y1=_TOP, y2=floor + 4, class_="grid"))
        parts.append(element("text", words(tick), x=at, y=floor + 18, class_="tick middle"))
    middle = (LEFT + RIGHT) / 2
    parts.append(element("text", title, x=middle, y=floor + 37, class_="axis-title middle"))
    return parts


def _row(pair: Pair, scale: Scale, y: float) -> list[Element]:
    reference, value = scale(pair.reference), scale(pair.value)
    return [
        element("text", shortened(pair.name, 44), x=LEFT, y=y - 10, class_="tick name halo"),
        element("line", x1=reference, x2=value, y1=y, y2=y, class_="span"),
        mark(reference, y, _REFERENCE, f"{pair.name}: {pair.reference_words}"),
        mark(value, y, _VALUE, f"{pair.name}: {pair.value_words}"),
        element(
            "text",
            pair.remark,
            x=_WIDTH - 4,
            y=y + 4,
            class_=f"label left-of {pair.tone}".strip(),
        ),
    ]
