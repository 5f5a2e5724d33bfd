"""sparsecore.bench: every contender of every comparison is right, and a wrong one is refused."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bench_cases import cases, small
from sparsecore.bench.comparison import Case, Contender, WrongResult, verify
from sparsecore.bench.peers import Roster
from sparsecore.bench.run import COMPARISONS

HALVES_AND_INTEGERS = (
    *("float64", "float16", "bfloat16", "int8"),
    *("float16:float32", "bfloat16:float32", "int8:float32"),
)


@pytest.mark.parametrize("command", COMPARISONS)
def test_every_contender_of_every_case_is_right(command: str) -> None:
    found = cases(small(command))
    assert found
    for case in found:
        assert max(verify(case).values()) <= 1
        assert next(iter(case.contenders)) == "sparsecore"
        roles = [contender.role for contender in case.contenders.values()]
        assert {"ours", "baseline"} <= set(roles)


@pytest.mark.parametrize("command", ["spmm", "24"])
@pytest.mark.parametrize("order", ["c", "f"])
@pytest.mark.parametrize("dtype", ["float32", *HALVES_AND_INTEGERS])
def test_every_dtype_and_orientation_is_right(command: str, order: str, dtype: str) -> None:
    for case in cases(small(command, order=order, dtypes=[dtype])):
        verify(case)


def test_work_counts_two_operations_an_entry_and_column() -> None:
    case = cases(small("spmm"))[-1]
    assert (case.labels["nnz"], case.labels["N"]) == (240, 3)  # a quarter of 24 * 40
    assert case.work == 2 * 240 * 3


def test_both_gradients_are_compared() -> None:
    found = cases(small("train", columns=[3]))
    assert [case.labels["gradient"] for case in found] == ["dW", "dX"]
    assert [case.work for case in found] == [2 * 240 * 3] * 2


def test_threads_are_compared_with_each_smaller_power_of_two() -> None:
    names = cases(small("threads", threads=5))[0].contenders
    ours = [name for name in names if name.startswith("sparsecore, ")]
    assert ours == ["sparsecore, 1 thread", "sparsecore, 2 threads", "sparsecore, 4 threads"]


def test_first_calls_say_that_they_include_packing() -> None:
    (case,) = cases(small("spmm", columns=[3]))
    packing = {name: contender.packing for name, contender in case.contenders.items()}
    for name in packing:
        if name.endswith(", first call"):
            assert packing[name] == "included"
            assert packing[name.removesuffix(", first call")] == "beforehand"
    assert packing["sparsecore"] == packing["numpy dense"] == "none"
    assert packing["sparsecore plan, first call"] == "included"


@pytest.mark.parametrize("command", COMPARISONS)
def test_everything_runs_without_any_peer(command: str) -> None:
    for case in cases(small(command), Roster({}, {})):
        verify(case)
        own = {"sparsecore", "numpy"}
        assert {name.split(maxsplit=1)[0].rstrip(",") for name in case.contenders} <= own


def wrong_copy(right: Any) -> Any:
    """Return a result with its last number off by one."""
    wrong = right.copy() if isinstance(right, np.ndarray) else [np.copy(part) for part in right]
    last = wrong if isinstance(wrong, np.ndarray) else wrong[-1]
    last[(-1,) * last.ndim] += 1
    return wrong


@pytest.mark.parametrize("command", COMPARISONS)
def test_a_wrong_result_is_refused(command: str) -> None:
    for case in cases(small(command), Roster({}, {})):
        contender = case.contenders["sparsecore"]
        right = contender.call()
        if hasattr(right, "unpack"):  # a plan, of which only the values can be read
            continue
        wrong = wrong_copy(right)
        liar = replace(contender, call=lambda wrong=wrong: wrong)
        with pytest.raises(WrongResult, match="liar is off by"):
            verify(replace(case, contenders={"liar": liar}))


def test_a_result_of_another_shape_is_refused() -> None:
    case = cases(small("spmm", columns=[3]), Roster({}, {}))[0]
    turned = Contender(lambda: np.zeros((3, 24), np.float32))
    with pytest.raises(WrongResult, match="off by inf"):
        verify(Case(case.labels, case.work, {"liar": turned}, case.excess))
