"""sparsecore.bench.report: ratios, who competes with whom, spreads, break-even."""

from typing import Any

import pytest

from bench_cases import contender, timed
from sparsecore.bench import report
from sparsecore.bench.comparison import Case
from sparsecore.timing import Timing


def measured(seconds: dict[str, float], contenders: dict[str, Any], **labels: Any) -> Any:
    case = Case({"N": 1, **labels}, 6e9, contenders, lambda *_: 0.0)
    times = {name: Timing(t, t, t, 1) for name, t in seconds.items()}
    return report.row(case, "GFLOP/s", times, dict.fromkeys(seconds, 0.0))


def test_a_row_has_rates_ratios_and_the_fastest_dense_baseline() -> None:
    contenders = {
        "ours": contender("ours"),
        "slow": contender("baseline"),
        "fast": contender("baseline"),
    }
    row = measured({"ours": 2.0, "slow": 8.0, "fast": 3.0}, contenders)
    assert row["contenders"]["ours"]["GFLOP/s"] == 3.0
    assert row["ratio"] == {"slow": 4.0, "fast": 1.5}
    assert row["dense_baseline"] == "fast"
    assert row["best"] == {"ours": {"baseline": {"contender": "fast", "ratio": 1.5}}}
    found = report.summary([row, {**row, "N": 2, "ratio": {"slow": 1.0, "fast": 6.0}}])
    assert found["slow"]["geometric_mean"] == 2.0
    assert (found["slow"]["least"], found["slow"]["least_at"]) == (1.0, {"N": 2})
    assert found["fast"]["geometric_mean"] == pytest.approx(3.0, rel=1e-15)


def test_packing_in_the_call_competes_with_packing_in_the_call() -> None:
    contenders = {
        "plain": contender("ours"),
        "plan": contender("ours", "beforehand"),
        "first": contender("ours", "included"),
        "their plain": contender("peer"),
        "their plan": contender("peer", "beforehand"),
        "their first": contender("peer", "included"),
    }
    seconds = {"plain": 2.0, "plan": 1.0, "first": 4.0}
    theirs = {"their plain": 6.0, "their plan": 3.0, "their first": 8.0}
    best = measured({**seconds, **theirs}, contenders)["best"]
    assert best["plain"]["peer"] == {"contender": "their plan", "ratio": 1.5}
    assert best["plan"]["peer"] == {"contender": "their plan", "ratio": 3.0}
    assert best["first"]["peer"] == {"contender": "their plain", "ratio": 1.5}


def test_the_best_is_spread_by_kind_sparsity_and_width() -> None:
    def row(ratio: float, **labels: Any) -> Any:
        best = {"ours": {"peer": {"contender": "theirs", "ratio": ratio}}}
        return {**labels, "best": best, "contenders": {}, "ratio": {}}

    rows = [
        row(1.0, sparsity=50.0, N=1),
        row(4.0, sparsity=50.0, N=8),
        row(9.0, sparsity=90.0, N=1),
        row(0.5, gradient="dX", sparsity=90.0, N=1),
    ]
    forward, gradient = report.against_best(rows)
    assert (forward["rows"], forward["least"]) == (3, 1.0)
    assert forward["least_at"] == {"sparsity": 50.0, "N": 1}
    parts = {
        (part.get("sparsity"), part.get("N")): (part["geometric_mean"], part["least"])
        for part in forward["parts"]
    }
    expected = {(50.0, None): (2.0, 1.0), (90.0, None): (9.0, 9.0)}
    expected |= {(None, 1): (3.0, 1.0), (None, 8): (4.0, 4.0)}
    assert parts.keys() == expected.keys()
    for key, value in expected.items():
        assert parts[key] == pytest.approx(value, rel=1e-14)
    assert (gradient["gradient"], gradient["least"]) == ("dX", 0.5)


def rows_of(ratios: dict[float, float]) -> list[Any]:
    """Return rows in which the dense product takes 1 s and ours 1 / ratio."""
    return [
        {
            **{"M": 4, "K": 4, "nnz": 1, "sparsity": sparsity, "N": 8, "dense_baseline": "dense"},
            "contenders": {"ours": timed("ours", 1 / ratio), "dense": timed("baseline", 1.0)},
            "best": {},
            "ratio": {},
        }
        for sparsity, ratio in ratios.items()
    ]


@pytest.mark.parametrize(
    ("ratios", "sparsity", "at_most"),
    [
        ({50.0: 0.5, 70.0: 2.0}, 60.0, False),  # halfway between equal logarithms
        ({50.0: 1.5, 70.0: 2.0}, 50.0, True),
        ({50.0: 0.5, 70.0: 0.9}, None, False),
        ({50.0: 2.0, 70.0: 0.5, 90.0: 8.0}, 75.0, False),  # a quarter of the way from 1/2 to 8
    ],
)
def test_break_even_is_where_the_ratio_stays_above_one(
    ratios: dict[float, float], sparsity: float | None, at_most: bool
) -> None:
    (found,) = report.break_even(rows_of(ratios))
    assert found["sparsity"] == (None if sparsity is None else pytest.approx(sparsity, rel=1e-14))
    assert (found["contender"], found["N"], found["at_most"]) == ("ours", 8, at_most)


def test_break_even_is_of_the_mean_over_shapes() -> None:
    rows = [*rows_of({50.0: 4.0, 70.0: 4.0}), *rows_of({50.0: 1 / 16, 70.0: 1.0})]
    (found,) = report.break_even(rows)  # means: 1/2 and 2
    assert found["sparsity"] == pytest.approx(60.0, rel=1e-14)


def test_one_sparsity_has_no_break_even() -> None:
    assert report.break_even(rows_of({50.0: 2.0})) == []


def test_drift_is_the_largest_relative_move() -> None:
    assert report.drift({"a": 2.0, "b": 4.0}, {"a": 3.0, "b": 3.0}) == 0.5
