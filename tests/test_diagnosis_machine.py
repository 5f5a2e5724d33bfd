"""diagnosis/machine.py and estimate.py: a machine of known costs is found to have them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sparsecore.diagnosis.counting import Counts
from sparsecore.diagnosis.estimate import Costs, Line, Times, breakeven, estimated
from sparsecore.diagnosis.facts import LayerFacts, bytes_of
from sparsecore.diagnosis.layer_times import unrest
from sparsecore.diagnosis.machine import Machine, Problem
from sparsecore.timing import Timing

DENSE, CSR, SPARSE24 = Line(3e-6, 1e-10), Line(5e-6, 4e-10, edge=7e-9), Line(8e-6, 2e-10)
BYTE = 2e-11


def seconds_of(module: Any, x: Any) -> float:
    """Return what a layer takes on the machine."""
    from sparsecore import nn

    dense = module.to_dense() if hasattr(module, "to_dense") else module
    m, k = len(dense.weight), dense.weight[0].numel()
    rows = len(x) if x.ndim == 2 else dense(x)[0, 0].numel()
    if isinstance(module, nn.CSRLinear | nn.CSRConv2d):
        entries = int((dense.weight != 0).sum())
        return CSR.call + entries * rows * CSR.mac + (m + k) * rows * CSR.edge
    if isinstance(module, nn.Sparse24Linear | nn.Sparse24Conv2d):
        return SPARSE24.call + m * k / 2 * rows * SPARSE24.mac
    return DENSE.call + m * k * rows * DENSE.mac


def timer(contenders: Mapping[str, Callable[[], object]]) -> dict[str, Timing]:
    found = {}
    for name, call in contenders.items():
        call()
        args: tuple[Any, ...] = call.args  # type: ignore[attr-defined]
        seconds = args[0].nbytes * BYTE if name == "read" else seconds_of(*args)
        found[name] = Timing(seconds, seconds, seconds, 1)
    return found


@pytest.mark.parametrize(
    "problem",
    [
        Problem("float32", 1),
        Problem("float32", 64),
        Problem("bfloat16", 16),
        Problem("float32", 16, (1, 1)),
        Problem("float32", 64, (3, 3)),
    ],
)
def test_the_constants_are_found(problem: Problem) -> None:
    pytest.importorskip("torch")
    costs = Machine(timer)(problem)
    # The random masks keep about a tenth and a half of the entries, not exactly.
    assert costs.csr.mac == pytest.approx(CSR.mac, rel=0.05)
    # Of the tiny probe, what its few inputs and results take counts as the call's.
    assert costs.csr.edge == pytest.approx(CSR.edge, rel=0.25)
    assert costs.dense.mac == pytest.approx(DENSE.mac)
    assert costs.dense.call == pytest.approx(DENSE.call)
    assert costs.byte == pytest.approx(BYTE)
    assert costs.cache > 0
    if problem.kernel_size == (3, 3):
        assert costs.sparse24 is None
    else:
        assert costs.sparse24 is not None
        assert costs.sparse24.mac == pytest.approx(SPARSE24.mac)


def test_a_problem_is_measured_once_and_rounded_up() -> None:
    pytest.importorskip("torch")
    asked: list[str] = []

    def counting(contenders: Mapping[str, Callable[[], object]]) -> dict[str, Timing]:
        asked.extend(contenders)
        return timer(contenders)

    machine = Machine(counting)
    first = machine(Problem("float32", 3))
    number = len(asked)
    assert machine(Problem("float32", 4)) is first
    assert len(asked) == number
    assert machine(Problem("float32", 5)) is not first
    assert asked.count("read") == 1
    assert machine(Problem("float32", 10**6)) is machine(Problem("float32", 1024))


def test_probes_that_differ_widen_the_error() -> None:
    """The second time that a machine is probed, CSR takes 1.5x: that much an estimate may miss."""
    pytest.importorskip("torch")
    asked: Counter[int] = Counter()

    def restless(contenders: Mapping[str, Callable[[], object]]) -> dict[str, Timing]:
        key = id(next(iter(contenders.values())))
        asked[key] += 1
        factor = 1.5 if asked[key] == 2 else 1.0
        found = timer(contenders)
        slow = {name: one.p10 * factor if "csr" in name else one.p10 for name, one in found.items()}
        return {name: Timing(one, one, one, 1) for name, one in slow.items()}

    busy, quiet = (Machine(one)(Problem("float32", 4)) for one in (restless, timer))
    assert (busy.error, quiet.error) == (pytest.approx(1.5), 1.2)
    assert replace(busy, error=1.2) == quiet  # the lesser times count
    times = Times(1, {"dense": 1.4, "csr": 1.0}, False, None, busy.error)
    assert not times.pays
    (note,) = unrest([times])
    assert "not quiet" in note
    assert "1.50x" in note
    assert list(unrest([replace(times, error=1.2)])) == []


def facts(m: int, k: int, nonzeros: int) -> LayerFacts:
    counts = Counts(m * k, nonzeros, {"axis 0": 1.0, "axis 1": 1.0})
    nbytes = bytes_of((m, k), nonzeros, 4, m * k * 4)
    return LayerFacts("w", (m, k), "float32", "dense", counts, nbytes)


COSTS = Costs(DENSE, CSR, SPARSE24, BYTE, cache=0)


def test_the_estimate_is_the_roofline() -> None:
    layer = facts(100, 200, 4000)
    seconds = estimated(layer, COSTS, 1, is_24=True)
    # One row: reading 4 bytes at 20 ps each takes less than a multiplication of 100 ps.
    assert seconds["dense"] == pytest.approx(DENSE.call + 20_000 * DENSE.mac)
    slow = replace(COSTS, byte=1e-9)
    assert estimated(layer, slow, 1, is_24=False)["dense"] == pytest.approx(
        DENSE.call + 80_000 * 1e-9
    )
    cached = replace(slow, cache=79_000)
    assert estimated(layer, cached, 1, is_24=False)["dense"] == pytest.approx(
        DENSE.call + max(1000 * 1e-9, 20_000 * DENSE.mac)
    )
    assert seconds["csr"] == pytest.approx(CSR.call + 4000 * CSR.mac + 300 * CSR.edge)
    assert seconds["2:4"] == pytest.approx(SPARSE24.call + 10_000 * SPARSE24.mac)
    assert set(estimated(layer, COSTS, 1, is_24=False)) == {"dense", "csr"}


@pytest.mark.parametrize("rows", [1, 7, 300])
def test_at_break_even_both_take_the_same(rows: int) -> None:
    limit = breakeven(facts(512, 512, 0), COSTS, rows)
    size = 512 * 512
    left = CSR.call + 1024 * rows * CSR.edge - DENSE.call
    expected = (size * rows * DENSE.mac - left) / (size * rows * CSR.mac)
    assert limit == pytest.approx(max(expected, 0.0), abs=2**-13)


def test_break_even_has_ends() -> None:
    assert breakeven(facts(4, 4, 0), COSTS, 1) == 0.0
    always = replace(COSTS, csr=Line(0.0, 0.0))
    assert breakeven(facts(64, 64, 0), always, 1) == 1.0
    assert np.isfinite(breakeven(facts(0, 4, 0), COSTS, 1))


@pytest.mark.parametrize(
    ("dense", "measured", "pays", "loses"),
    [
        (1.06, True, True, False),
        (1.04, True, False, True),
        (1.3, False, True, False),
        (1.1, False, False, False),
        (0.9, False, False, False),
        (0.8, False, False, True),
    ],
)
def test_what_noise_and_estimates_tell(
    dense: float, measured: bool, pays: bool, loses: bool
) -> None:
    times = Times(1, {"dense": dense, "csr": 1.0}, measured=measured, breakeven=None)
    assert (times.pays, times.loses) == (pays, loses)
