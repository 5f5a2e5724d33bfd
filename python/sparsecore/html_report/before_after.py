"""A chart of what each layer took before and takes now: two marks on one line each."""

from collections.abc import Sequence
from dataclasses import dataclass

from sparsecore.html_report.elements import Element, element
from sparsecore.html_report.line_chart import shortened
from sparsecore.html_report.marks import mark
from sparsecore.html_report.numbers import duration_text, ratio_text
from sparsecore.html_report.scales import Scale, spanning

__all__ = ["Times", "before_after"]

_WIDTH, _ROW, _TOP, _BOTTOM = 440.0, 36.0, 8.0, 44.0
_LEFT, _RIGHT = 10.0, 66.0
_DENSE, _CHOSEN = 1, 0  # series


@dataclass(frozen=True, slots=True)
class Times:
    """Of one layer: seconds dense, in the fastest sparse form, and which that is."""

    name: str
    dense: float
    sparse: float
    format: str


def before_after(describes: str, layers: Sequence[Times]) -> Element:
    """Return an ``svg`` with a line a layer; `describes` says in words what it shows."""
    times = [time for layer in layers for time in (layer.dense, layer.sparse)]
    scale = spanning(times, _LEFT, _WIDTH - _RIGHT)
    floor = _TOP + _ROW * len(layers)
    return element(
        "svg",
        element("title", describes),
        *_axis(scale, floor),
        *(
            part
            for i, layer in enumerate(layers)
            for part in _row(layer, scale, _TOP + _ROW * i + 24)
        ),
        viewBox=f"0 0 {_WIDTH:g} {floor + _BOTTOM:g}",
        role="img",
        class_="chart wide",
    )


def _axis(scale: Scale, floor: float) -> list[Element]:
    parts: list[Element] = []
    for tick in scale.ticks:
        at = scale(tick)
        parts.append(element("line", x1=at, x2=at, y1=_TOP, y2=floor + 4, class_="grid"))
        words = duration_text(tick) if tick else "0"
        parts.append(element("text", words, x=at, y=floor + 18, class_="tick middle"))
    title = "median time in one run" + (", logarithmic" if scale.log else "")
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(element("text", title, x=middle, y=floor + 37, class_="axis-title middle"))
    return parts


def _row(layer: Times, scale: Scale, y: float) -> list[Element]:
    dense, sparse = scale(layer.dense), scale(layer.sparse)
    is_faster = layer.sparse < layer.dense
    words = [duration_text(layer.dense), duration_text(layer.sparse)]
    return [
        element("text", shortened(layer.name, 44), x=_LEFT, y=y - 10, class_="tick name halo"),
        element("line", x1=dense, x2=sparse, y1=y, y2=y, class_="span"),
        mark(dense, y, _DENSE, f"{layer.name}: dense {words[0]}"),
        mark(sparse, y, _CHOSEN, f"{layer.name}: {layer.format} {words[1]}"),
        element(
            "text",
            ratio_text(layer.dense, layer.sparse),
            x=_WIDTH - 4,
            y=y + 4,
            class_=f"label left-of {'good' if is_faster else 'bad'}",
        ),
    ]
