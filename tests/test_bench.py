"""The benchmarks check results before timing them, count what they say, and name no machine."""

import json
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparsecore.timing import Timing

BENCH = Path(__file__).resolve().parent.parent / "bench"
PRODUCTS = ("spmm", "sparse24", "transpose", "dtypes")


@pytest.fixture(autouse=True)
def bench_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("scipy")
    monkeypatch.syspath_prepend(BENCH)


def small_comparison(name: str) -> Any:
    import building
    import products

    if name == "build":
        return building.build(building.BuildSizes([300], 16, [50]))
    return getattr(products, name)(products.Sizes((24, 40), [75], [1, 3]))


@pytest.mark.parametrize("name", [*PRODUCTS, "build"])
def test_every_contender_of_every_case_is_right(name: str) -> None:
    import comparison

    cases = list(small_comparison(name).cases)
    assert cases
    for case in cases:
        assert max(comparison.verify(case).values()) <= 1
        assert next(iter(case.contenders)) == "sparsecore"
        assert any(contender.dense for contender in case.contenders.values())


def test_work_counts_two_operations_an_entry_and_column() -> None:
    case = list(small_comparison("spmm").cases)[-1]
    assert (case.labels["nnz"], case.labels["N"]) == (240, 3)  # a quarter of 24 * 40
    assert case.work == 2 * 240 * 3


@pytest.mark.parametrize("name", [*PRODUCTS, "build"])
def test_a_wrong_result_is_refused(name: str) -> None:
    import comparison

    for case in small_comparison(name).cases:
        contender = case.contenders["sparsecore"]
        right = contender.call()
        wrong = right.copy() if isinstance(right, np.ndarray) else [np.copy(p) for p in right]
        last = wrong if isinstance(wrong, np.ndarray) else wrong[-1]
        last[(-1,) * last.ndim] += 1
        liar = comparison.Contender(lambda wrong=wrong: wrong, contender.sums)
        bad = comparison.Case(case.labels, case.work, {"liar": liar}, case.excess)
        with pytest.raises(ValueError, match="liar is off by"):
            comparison.verify(bad)


def test_a_row_has_rates_ratios_and_the_fastest_dense_baseline() -> None:
    import comparison
    import report

    def contender(dense: bool) -> Any:
        return comparison.Contender(int, dense=dense)

    contenders = {"ours": contender(False), "slow": contender(True), "fast": contender(True)}
    case = comparison.Case({"N": 1}, 6e9, contenders, lambda *_: 0.0)
    times = {name: Timing(t, t, t, 1) for name, t in (("ours", 2.0), ("slow", 8.0), ("fast", 3.0))}
    row = report.row(case, "GFLOP/s", times, dict.fromkeys(contenders, 0.0))
    assert row["contenders"]["ours"]["GFLOP/s"] == 3.0
    assert row["ratio"] == {"slow": 4.0, "fast": 1.5}
    assert row["dense_baseline"] == "fast"
    found = report.summary([row, {**row, "N": 2, "ratio": {"slow": 1.0, "fast": 6.0}}])
    assert found["slow"]["geometric_mean"] == 2.0
    assert (found["slow"]["least"], found["slow"]["least_at"]) == (1.0, {"N": 2})
    assert found["fast"]["geometric_mean"] == pytest.approx(3.0, rel=1e-15)


def test_drift_is_the_largest_relative_move() -> None:
    import report

    assert report.drift({"a": 2.0, "b": 4.0}, {"a": 3.0, "b": 3.0}) == 0.5


def test_a_run_writes_json_and_table_that_name_no_machine_and_can_be_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    import plot

    output = tmp_path / "small.json"
    sizes = ["--shape", "16", "24", "--sparsities", "50", "75", "--columns", "1", "2"]
    quick = ["--min-runs", "1", "--min-seconds", "0", "--output", str(output)]
    subprocess.run(
        [sys.executable, "-W", "error", str(BENCH / "run.py"), "spmm", *sizes, *quick],
        check=True,
        capture_output=True,
    )
    text, table = output.read_text(), output.with_suffix(".md").read_text()
    document = json.loads(text)
    assert [(row["sparsity"], row["N"]) for row in document["rows"]] == [
        (50.0, 1),
        (50.0, 2),
        (75.0, 1),
        (75.0, 2),
    ]
    for row in document["rows"]:
        assert row["dense_baseline"] in row["contenders"]
        assert {"scipy", "numpy dense"} <= row["ratio"].keys()
    for private in (socket.gethostname(), str(Path.home()), str(BENCH.parent), str(tmp_path)):
        assert not re.search(rf"(?<!\w){re.escape(private)}(?!\w)", text + table)
    plot.main([str(output)])
    assert output.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
