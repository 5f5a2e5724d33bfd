"""A run of ``never-slower``: its rule, its cells, what ends it, and its twelve models."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn

from sparsecore.bench.arguments import Options, parse
from sparsecore.bench.comparison import WrongResult
from sparsecore.bench.e2e.patterns import prunable
from sparsecore.bench.models.mlp import perceptron
from sparsecore.bench.models.weights import seeded
from sparsecore.bench.never_slower import cell, run, subjects, table
from sparsecore.bench.never_slower.arguments import MODELS
from sparsecore.nn import sparsify_
from sparsecore.nn.accuracy import outputs_difference
from sparsecore.nn.example import Example
from sparsecore.timing import Timing, interleaved


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One small model, and a `sparsify_` that measures with few samples."""
    subject = subjects.Subject(partial(perceptron, 24, 32, 5), lambda n, g: _draw(n, g), (1, 2))
    monkeypatch.setitem(subjects.SUBJECTS, "tiny", subject)  # type: ignore[arg-type]
    quick = partial(interleaved, min_runs=1, min_seconds=0.0, warmup=1, sample_seconds=0.0)
    monkeypatch.setattr(cell.sc.nn, "sparsify_", partial(sparsify_, timer=quick))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _draw(batch: int, generator: torch.Generator) -> subjects.Arguments:
    return (torch.randn(batch, 24, generator=generator),)


def asked(**changes: Any) -> Options:
    options = parse(["never-slower", "--quick", "--min-runs", "1", "--min-seconds", "0"])
    return replace(options, **{"models": ("tiny",), "batches": (), **changes})


def timings(*rounds: tuple[float, float, float]) -> Any:
    """Return a clock that answers with given seconds of dense, its copy and converted, in turns."""
    answers = iter(rounds)

    def clock(contenders: Mapping[str, Any]) -> dict[str, Timing]:
        assert list(contenders) == ["dense", "dense again", "converted"]
        pairs = zip(contenders, next(answers), strict=True)
        return {name: Timing(seconds, seconds, seconds, 1) for name, seconds in pairs}

    return clock


def measured(clock: Any) -> dict[str, Any]:
    model = seeded(partial(perceptron, 24, 32, 5), torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    example, fresh = _draw(2, generator), _draw(2, generator)
    return cell.measure_cell(model, example, fresh, clock, threads=1)


def test_a_run_has_a_cell_for_each_sparsity_and_batch_and_says_why_layers_stay_dense() -> None:
    document: Any = json.loads(json.dumps(run.measure(asked(), pinned=False)))
    rows = document["rows"]
    assert [(row["sparsity"], row["batch"]) for row in rows] == [(0, 1), (0, 2), (90, 1), (90, 2)]
    for row in rows:
        seconds = {name: found["median"] for name, found in row["seconds"].items()}
        assert row["ratio"] == pytest.approx(seconds["dense"] / seconds["converted"])
        assert row["same"] == pytest.approx(seconds["dense"] / seconds["dense again"])
        assert 0 <= row["error"] <= document["protocol"]["tolerance"]
        assert sum(row["choices"].values()) == 2
        assert len(row["stay_dense"]) == row["choices"].get("dense", 0)
    assert rows[0]["stay_dense"] == dict.fromkeys("02", "it has no zeros: prune it first")
    assert set(document["absent"]) == set(MODELS)
    assert document["summary"]["cells"] == 4
    assert {"cpu", "versions", "git_commit"} <= set(document["machine"])
    text = table.markdown(document)
    assert "| model | batch | dense | 0 % | 90 % |" in text
    assert "- absent: resnet20 (not asked for)" in text


def test_the_rule() -> None:
    assert not cell.is_slower(0.971, 1.0)
    assert cell.is_slower(0.969, 1.0)
    # Noise counts whichever way it points: 1 / 1.06 - 0.02 = 0.923.
    assert [cell.is_slower(0.93, same) for same in (1.06, 1 / 1.06)] == [False, False]
    assert [cell.is_slower(0.92, same) for same in (1.06, 1 / 1.06)] == [True, True]


@pytest.mark.parametrize(
    ("rounds", "ratio", "slower", "noisy"),
    [
        ([(3.0, 3.0, 2.0)], 1.5, False, False),
        # Not confirmed; confirmed; confirmed after noise.
        ([(1.0, 0.99, 2.0), (1.0, 1.0, 1.0)], 1.0, False, False),
        ([(1.0, 1.0, 2.0), (1.0, 1.01, 4.0), (1.0, 1.01, 4.0)], 0.5, True, False),
        ([(1.0, 2.0, 4.0), (1.0, 1.0, 4.0), (1.0, 1.01, 2.0)], 0.25, True, False),
        # Noise is measured again, whichever way it points; the least noise counts, not the best x.
        ([(1.0, 2.0, 0.5), (1.0, 1.0, 1.0)], 1.0, False, False),
        ([(1.0, 2.0, 0.5), (1.0, 1.3, 1.0), (1.0, 0.5, 0.1)], 1.0, False, True),
    ],
)
def test_a_cell_is_measured_until_it_says_something(
    rounds: list[tuple[float, float, float]], ratio: float, slower: bool, noisy: bool
) -> None:
    found = measured(timings(*rounds))
    assert (found["ratio"], found["slower"], found["noisy"]) == (ratio, slower, noisy)
    assert len(found["measurements"]) == len(rounds)


def test_what_is_timed_are_three_models_on_inputs_that_sparsify_did_not_see() -> None:
    model = seeded(partial(perceptron, 24, 32, 5), torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    example, fresh = _draw(2, generator), _draw(2, generator)
    seen: list[nn.Module] = []
    model[0].register_forward_pre_hook(lambda layer, _: seen.append(layer))

    def clock(contenders: Mapping[str, Any]) -> dict[str, Timing]:
        seen.clear()
        for call in contenders.values():
            torch.testing.assert_close(call(), model(*fresh))
        # Each contender once, and the model above each time; a hook keeps the layer dense.
        assert len(set(seen)) == 3
        return dict.fromkeys(contenders, Timing(1.0, 1.0, 1.0, 1))

    found = cell.measure_cell(model, example, fresh, clock, threads=1)
    assert (found["ratio"], found["same"]) == (1.0, 1.0)
    assert "hook" in found["stay_dense"]["0"]


def test_slower_cells_are_listed_and_counted() -> None:
    slow, fast = (1.0, 1.0, 2.0), (1.0, 1.0, 0.5)
    labels: dict[str, Any] = {"model": "m", "batch": 1, "other_kinds": {"cell": "LSTM"}}
    told = {"own_ratio": 1.25, "fused": ""}
    rows = [
        {**labels, "sparsity": 50.0, **measured(timings(slow, slow, slow)), **told},
        {**labels, "sparsity": 90.0, **measured(timings(fast)), **told},
    ]
    found = run.summary(rows)
    assert (found["cells"], found["slower"], found["below_one"]) == (2, 1, 1)
    assert found["noisy"] == 0
    assert found["geometric_mean"] == pytest.approx(1.0)
    assert (found["worst"], found["worst_at"]["sparsity"]) == (0.5, 50.0)
    assert list(table._matrix(rows))[2:] == ["| m | 1 | 1 s | **0.50 (0/2) slower** | 2.00 (0/2) |"]
    assert list(table._below_one(rows))[2:] == [
        "| m | 50 % | 1 | 0.500 | 1.000 | 0.500, 0.500, 0.500 | 1.250 | nothing |"
    ]
    assert list(table._reasons(rows))[1:] == ["- no sparse form: LSTM in m"]


def test_a_layer_that_stays_dense_without_a_reason_ends_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def silent(model: nn.Module, example: Any, **options: Any) -> Any:
        report = sparsify_(model, example, policy="always", **options)
        return replace(report, layers=(replace(report.layers[1], why=" "),))

    monkeypatch.setattr(cell.sc.nn, "sparsify_", silent)
    with pytest.raises(WrongResult, match=r"tiny, 0 %, batch 1: .* stay dense: 0, 2$"):
        run.measure(asked(), pinned=False)


def test_an_output_that_is_wrong_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell, "TOLERANCE", -1.0)
    with pytest.raises(WrongResult, match="off by 0 of the largest output"):
        measured(timings())


@pytest.mark.parametrize("name", MODELS)
def test_each_model_runs_and_its_output_depends_on_the_input(name: str) -> None:
    subject = subjects.SUBJECTS[name]
    generator = torch.Generator().manual_seed(0)
    model = seeded(subject.build, generator)
    first, second = (Example.of(subject.arguments(2, generator)).output(model) for _ in range(2))
    assert 1e-3 < outputs_difference(first, second) < float("inf")
    assert len(subject.batches) == 3
    assert len(prunable(model, ())) >= 2
