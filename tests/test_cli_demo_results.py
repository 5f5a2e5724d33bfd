"""cli/demo_results.py: the sentences that a run says about its own results."""

import dataclasses

import pytest

pytest.importorskip("torch")

from demo_cases import report, timing, variant
from sparsecore.cli.demo_measure import Curve
from sparsecore.cli.demo_results import (
    against_breakeven,
    disturbances,
    reasons_for_all_dense,
)
from sparsecore.nn.report import Format
from sparsecore.timing import Timing


@pytest.mark.parametrize(
    ("csr", "choice", "found", "outcome"),
    [
        ((1.0, 3.0), "csr", "below 55.0% density", "csr was to be expected, and csr was chosen"),
        (
            (1.0, 3.0),
            "dense",
            "below 55.0% density",
            "csr was to be expected, but dense was chosen: because",
        ),
        (
            (0.5, 1.0),
            "csr",
            "at every density measured, up to 100%",
            "csr was to be expected, and csr was chosen",
        ),
        (
            (3.0, 4.0),
            "dense",
            "at 10% density CSR takes 3 s already, dense 2 s",
            "dense was to be expected, and dense was chosen",
        ),
    ],
)
def test_choice_is_held_against_the_breakeven(
    csr: tuple[float, float], choice: Format, found: str, outcome: str
) -> None:
    low, high = map(timing, csr)
    curve = Curve("fc1", (4, 8), 64, (0.1, 1.0), (low, high), timing(2.0), timing(1.0))
    pruned = variant("90%", timing(1.0), {64: report(choice, seconds=1.0)})
    said = against_breakeven(curve, pruned)
    assert said.endswith(f"{found}. The 90% model keeps 10.0% there, so {outcome}.")
    given = variant("90%", timing(1.0), {64: report(choice)})
    assert f" {choice} was given." in against_breakeven(curve, given)


def test_a_disturbed_breakeven_is_no_fact() -> None:
    csr = timing(0.5, spread=3), timing(1.0)
    curve = Curve("fc1", (4, 8), 64, (0.1, 1.0), csr, timing(2.0, spread=2), timing(1.0))
    pruned = variant("90%", timing(1.0), {64: report("csr", seconds=1.0)})
    doubt = "up to 100% (not to be relied on: other work disturbed 2 of these 3 times)."
    assert doubt in against_breakeven(curve, pruned)


def test_all_dense_is_explained_by_its_numbers_where_it_was_measured() -> None:
    found = report("dense", seconds=1.0)
    layer = dataclasses.replace(found.layers[0], nbytes={"dense": 1})
    pruned = variant("90%", timing(1.0), {64: dataclasses.replace(found, layers=(layer,))})
    assert list(reasons_for_all_dense(pruned)) == [
        "The 90% model stays all dense at batch 64. Its largest layer, fc1, keeps 10.0%: because."
    ]


@pytest.mark.parametrize(
    ("time", "choice", "measured", "expected"),
    [
        (timing(1.0), "csr", 1.0, []),
        (timing(1.0, spread=3), "csr", 1.0, ["Other work disturbed", "--threads 1"]),
        (timing(3.0), "dense", 1.0, []),
        (timing(3.0), "csr", 1.0, ["slower than dense, 3 s against 2 s", "run it again"]),
        (timing(3.0), "csr", None, ["slower than dense, 3 s against 2 s", "that were given."]),
    ],
)
def test_doubtful_times_are_named(
    time: Timing, choice: Format, measured: float | None, expected: list[str]
) -> None:
    pruned = variant("90%", time, {64: report(choice, seconds=measured)})
    said = list(disturbances([variant("dense", timing(2.0), {}), pruned]))
    assert len(said) == (1 if expected else 0)
    assert all(words in said[0] for words in expected)
