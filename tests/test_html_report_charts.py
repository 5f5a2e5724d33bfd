"""html_report: scales, charts, break-evens and accuracies, against what they are made of."""

import math
import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from report_cases import ACCURACY, HOSTILE, conversion, latency
from sparsecore.html_report.accuracy import Accuracy, accuracy_part, read_accuracy
from sparsecore.html_report.conversion import read_conversion
from sparsecore.html_report.elements import Element, markup
from sparsecore.html_report.latency import LayerCurve, breakeven, latency_part, read_latency
from sparsecore.html_report.line_chart import apart
from sparsecore.html_report.numbers import nbytes_text
from sparsecore.html_report.scales import Scale, linear_ticks, log_ticks, spanning

TIMES = st.floats(1e-8, 1e3)


def places(drawing: Element, kind: str) -> list[list[tuple[float, float]]]:
    """Return the corners of each path of a class."""
    paths = [path.get("d") or "" for path in drawing.iter("path") if kind in path.get("class", "")]
    pairs = [re.findall(r"([-\d.]+),([-\d.]+)", path) for path in paths]
    return [[(float(x), float(y)) for x, y in points] for points in pairs]


# ---- scales ----


@given(st.lists(TIMES, min_size=1, max_size=9))
def test_a_scale_holds_all_values_in_their_order(values: list[float]) -> None:
    scale = spanning(values, 100.0, 0.0)
    drawn = [scale(value) for value in sorted(values)]
    assert all(-1e-9 <= place <= 100 + 1e-9 for place in drawn)
    assert drawn == sorted(drawn, reverse=True)
    assert scale.log == (max(values) / min(values) > 8)
    assert 2 <= len(scale.ticks) <= 8


def test_a_logarithmic_scale_gives_each_decade_the_same_length() -> None:
    scale = Scale(1e-6, 1e-2, 10.0, 50.0, log=True)
    np.testing.assert_allclose([scale(10.0**k) for k in range(-6, -1)], [10, 20, 30, 40, 50])


@given(TIMES, st.floats(1.5, 1e6))
def test_ticks_are_round_and_inside(low: float, factor: float) -> None:
    high = low * factor
    for ticks in (linear_ticks(low, high), log_ticks(low, high)):
        assert all(low * (1 - 1e-9) <= tick <= high * (1 + 1e-9) for tick in ticks)
        assert ticks == sorted(set(ticks))
    mantissas = {f"{tick:e}"[0] for tick in log_ticks(low, high)}
    assert mantissas <= {"1", "2", "3", "5"}


@given(st.lists(st.floats(0, 200), max_size=10).map(sorted))
def test_labels_do_not_overlap(wanted: list[float]) -> None:
    moved = apart(wanted, 0.0, 200.0)
    assert all(b - a >= 14 - 1e-9 for a, b in pairwise(moved))
    assert all(-1e-9 <= place <= 200 for place in moved)


@given(st.integers(0, 10**13))
def test_bytes_are_within_half_a_unit_of_the_third_digit(nbytes: int) -> None:
    number, unit = nbytes_text(nbytes).split()
    value = float(number) * {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}[unit]
    assert math.isclose(value, nbytes, rel_tol=0.0051, abs_tol=0.5)


# ---- break-even ----


def test_the_break_even_is_where_the_lines_cross() -> None:
    rising, never = read_latency(latency(), "latency")
    assert breakeven(rising) == pytest.approx(0.3)
    assert breakeven(never) is None
    assert breakeven(LayerCurve("fc", 1.0, ((0.1, 2.0), (0.5, 3.0)))) is None
    assert breakeven(LayerCurve("fc", 1.0, ((0.2, 0.5), (0.5, 1.0)))) == 0.5


def test_the_chart_shows_the_crossing_and_this_layer() -> None:
    """The dense line, drawn, is crossed by CSR's at 30 % of the axis; the dot is at 50 %."""
    report = conversion()
    report["layers"][1]["sparsity"] = 0.5
    report["layers"][1]["seconds"]["csr"] = 5e-3
    curves = read_latency(latency(), "latency")
    (section,) = latency_part(curves, None, read_conversion(report, "report")).sections
    figure = next(figure for figure in section.figures if figure.title == HOSTILE)
    assert figure.notes == ("Breaks even at 30.0 % kept; dense 3 ms.",)
    ((left, level), (right, same)) = places(figure.drawing, "level")[0]
    assert level == same
    (csr,) = places(figure.drawing, "line series-0")
    crossing = np.interp(level, [csr[1][1], csr[0][1]], [csr[1][0], csr[0][0]])
    assert (crossing - left) / (right - left) == pytest.approx(0.3, abs=1e-3)
    marks = [
        group.get("transform", "")
        for group in figure.drawing.iter("g")
        if "series-3" in group.get("class", "")
    ]
    x, y = map(float, re.findall(r"[\d.]+", marks[0]))
    assert (x - left) / (right - left) == pytest.approx(0.5, abs=1e-3)
    assert y == pytest.approx(csr[1][1], abs=0.01)


def test_a_layer_without_its_own_time_lies_on_its_line() -> None:
    """At 30 % kept, CSR's line, interpolated, crosses the dense one."""
    for choice in ("csr", "dense"):
        report = conversion()
        report["layers"][1] |= {"sparsity": 0.7, "seconds": {}, "choice": choice}
        curves = read_latency(latency(), "latency")
        (section,) = latency_part(curves, [HOSTILE], read_conversion(report, "report")).sections
        (spot,) = (
            group.get("transform", "")
            for group in section.figures[0].drawing.iter("g")
            if "series-3" in group.get("class", "")
        )
        level = places(section.figures[0].drawing, "level")[0][0][1]
        assert float(re.findall(r"[\d.]+", spot)[1]) == pytest.approx(level, abs=0.01)


def test_only_named_layers_are_drawn() -> None:
    curves = read_latency(latency(), "latency")
    (section,) = latency_part(curves, ["fc9"], None).sections
    assert [figure.title for figure in section.figures] == ["fc9"]
    assert section.figures[0].notes == ("CSR is faster at every density measured; dense 9 ms.",)
    assert latency_part(curves, ["other"], None).sections == ()


def test_of_many_layers_the_slowest_are_drawn() -> None:
    curves = [LayerCurve(str(i), float(i), ((0.1, 1.0),)) for i in range(1, 21)]
    (section,) = latency_part(curves, None, None).sections
    assert [figure.title for figure in section.figures] == [str(i) for i in range(12, 21)]
    assert section.text[-1] == "The 9 slowest of 20 layers."


# ---- accuracy ----


def test_runs_at_one_sparsity_are_averaged() -> None:
    (section,) = accuracy_part(read_accuracy(ACCURACY, "accuracy")).sections
    assert section.table is not None
    assert [[cell.text for cell in row] for row in section.table.rows] == [
        ["LAMP", "90.0 %", "80.0 %"],
        [HOSTILE, "75.0 %", "-"],
    ]
    assert section.table.caption == "Accuracy by sparsity, means of up to 2 runs"
    assert "75 %" in markup(section.figures[0].drawing)


@pytest.mark.parametrize("accuracy", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("sparsity", [0.0, 0.37, 1.0])
def test_a_single_accuracy_has_a_chart(sparsity: float, accuracy: float) -> None:
    (section,) = accuracy_part([Accuracy("only", sparsity, accuracy)]).sections
    ticks = [text.text for text in section.figures[0].drawing.iter("text")]
    assert len(ticks) > 4
    assert not any("-" in (tick or "") for tick in ticks)


def test_series_have_different_marks_and_colours() -> None:
    points = [Accuracy(str(i), x, 0.1 * i) for i in range(6) for x in (0.5, 0.9)]
    (section,) = accuracy_part(points).sections
    groups = list(section.figures[0].drawing.iter("g"))
    assert len({group.get("class") for group in groups}) == 6
    assert len({path.get("d") for group in groups for path in group.iter("path")}) == 6
