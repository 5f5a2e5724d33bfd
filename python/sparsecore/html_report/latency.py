"""From latency against density to a page's part: where each layer breaks even."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from sparsecore.files.header_fields import Fields
from sparsecore.html_report.conversion import Conversion, ConvertedLayer
from sparsecore.html_report.line_chart import Axis, Line, Spot, line_chart
from sparsecore.html_report.numbers import count, duration_text, percent
from sparsecore.html_report.page import Figure, Part, Section
from sparsecore.html_report.scales import Scale, spanning

__all__ = ["LayerCurve", "breakeven", "latency_part", "read_latency"]

# Layers that are drawn where none are named: those that take longest.
MOST_CURVES = 9
_CSR, _DENSE, _LAYER = 0, 1, 3  # series


@dataclass(frozen=True, slots=True)
class LayerCurve:
    """One layer's seconds, dense and by the density of its CSR form.

    Attributes
    ----------
    name : str
    dense : float
    csr : tuple of (float, float)
        Densities, rising, and seconds.
    """

    name: str
    dense: float
    csr: tuple[tuple[float, float], ...]


def read_latency(content: Any, place: str) -> tuple[LayerCurve, ...]:
    """Return what ``sparsecore.nn.LatencyTable.to_json`` wrote.

    Raises
    ------
    ValueError
        If `content` is something else; begins with `place`.
    """
    return tuple(_curve(layer, place) for layer in Fields(content, place).objects("layers"))


def _curve(fields: Fields, place: str) -> LayerCurve:
    name, size = fields.text(fields.get("name"), "name"), fields.natural("size")
    points = (_point(point, size, f"{place}: csr of {name!r:.80}") for point in fields.array("csr"))
    return LayerCurve(name, fields.number("dense"), tuple(sorted(points)))


def _point(point: Any, size: int, place: str) -> tuple[float, float]:
    """Return the density and the seconds of [kept count, seconds]."""
    if not isinstance(point, list) or len(point) != 2:
        msg = f"{place} has {point!r:.80}, expected [count, seconds]"
        raise ValueError(msg)
    fields = Fields({"count": point[0], "seconds": point[1]}, place)
    kept = fields.natural("count")
    if kept > size:
        msg = f"{place} keeps {kept} of {size}"
        raise ValueError(msg)
    return kept / max(size, 1), fields.number("seconds")


def breakeven(curve: LayerCurve) -> float | None:
    """Return the density at which CSR begins to take longer than dense, between measured ones.

    None where it never does, or does at every density that was measured.

    Examples
    --------
    >>> breakeven(LayerCurve("fc", 3.0, ((0.0, 1.0), (0.5, 5.0))))
    0.25
    """
    for (less, fast), (more, slow) in pairwise(curve.csr):
        if fast < curve.dense <= slow:
            return less + (more - less) * (curve.dense - fast) / (slow - fast)
    return None


# ---- the part ----


def latency_part(
    curves: Sequence[LayerCurve], names: Sequence[str] | None, conversion: Conversion | None
) -> Part:
    """Return a chart for each layer.

    Parameters
    ----------
    curves : sequence of LayerCurve
    names : sequence of str, or None
        The layers to draw; None: those that take longest dense.
    conversion : Conversion or None
        Whose layers are drawn as dots, at their density.
    """
    drawable = [curve for curve in curves if len(curve.csr) > 0]
    if names is None:
        slowest = sorted(drawable, key=lambda curve: -curve.dense)[:MOST_CURVES]
        chosen = [curve for curve in drawable if curve in slowest]
    else:
        chosen = [curve for curve in drawable if curve.name in names]
    if not chosen:
        return Part()
    layers = {layer.name: layer for layer in conversion.layers} if conversion else {}
    text = [
        "Time of one layer as CSR, by how many of its weights are kept, and dense. Left of the "
        "break-even, sparse is the faster one."
    ]
    if len(chosen) < len(drawable) and names is None:
        text.append(f"The {len(chosen)} slowest of {count(len(drawable), 'layer')}.")
    figures = tuple(_figure(curve, layers.get(curve.name)) for curve in chosen)
    return Part(sections=(Section("Break-even", tuple(text), figures=figures),))


def _figure(curve: LayerCurve, layer: ConvertedLayer | None) -> Figure:
    spots = _spots(curve, layer)
    times = [curve.dense, *(seconds for _, seconds in curve.csr), *(spot.y for spot in spots)]
    y = spanning(times, 0.0, 1.0)
    lines = [
        Line("CSR", curve.csr, _CSR),
        Line("dense", ((0.0, curve.dense), (1.0, curve.dense)), _DENSE, level=True),
    ]
    title = "median time" + (", logarithmic" if y.log else "")
    drawing = line_chart(
        f"Time of {curve.name} against its density",
        Axis(
            "density: weights kept", Scale(0.0, 1.0, 0.0, 1.0), lambda part: f"{100 * part:.3g} %"
        ),
        Axis(title, y, lambda seconds: duration_text(seconds) if seconds else "0"),
        lines,
        spots,
    )
    return Figure(curve.name, drawing, (_verdict(curve),))


def _spots(curve: LayerCurve, layer: ConvertedLayer | None) -> list[Spot]:
    """Return this layer's dot: at its own time, else on the line of the form that it has."""
    if layer is None or math.isnan(layer.sparsity):
        return []
    density = 1 - layer.sparsity
    label = f"this layer: {percent(density)}"
    if (seconds := layer.seconds.get("csr")) is not None:
        return [Spot(label, density, seconds, _LAYER)]
    if layer.choice == "csr":
        densities, times = np.array(curve.csr).T
        return [Spot(label, density, float(np.interp(density, densities, times)), _LAYER)]
    return [Spot(f"this layer, dense: {percent(density)}", density, curve.dense, _LAYER)]


def _verdict(curve: LayerCurve) -> str:
    limit = breakeven(curve)
    dense = f"dense {duration_text(curve.dense)}"
    if limit is not None:
        return f"Breaks even at {percent(limit)} kept; {dense}."
    if all(seconds < curve.dense for _, seconds in curve.csr):
        return f"CSR is faster at every density measured; {dense}."
    if all(seconds >= curve.dense for _, seconds in curve.csr):
        return f"CSR is not faster at any density measured; {dense}."
    return f"CSR is faster at some densities, with no single break-even; {dense}."
