"""`sc.doctor(measure=True)`: which layers are measured in which forms, and what follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import sparsecore as sc  # noqa: E402
from diagnosis_cases import costs, pruned, two_of_four  # noqa: E402
from sparsecore.timing import Timing  # noqa: E402

SECONDS = {"dense": 4.0, "csr": 3.0, "2:4": 1.0}


class Timer:
    """Answers by form, and notes what was asked."""

    def __init__(self, **seconds: float) -> None:
        self.seconds = {**SECONDS, **seconds}
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, contenders: Mapping[str, Callable[[], object]]) -> dict[str, Timing]:
        self.asked.append(tuple(contenders))
        for call in contenders.values():
            call()
        answers = {name: self.seconds[name] for name in contenders}
        return {name: Timing(one, one, one, 1) for name, one in answers.items()}


def model() -> nn.Sequential:
    """Return layers with any zeros, with 2:4, and with none."""
    layers = [nn.Linear(32, 32) for _ in range(3)]
    with torch.no_grad():
        layers[0].weight.copy_(torch.from_numpy(pruned(32, 32, sparsity=0.6)))
        layers[1].weight.copy_(torch.from_numpy(two_of_four(32, 32)))
    return nn.Sequential(*layers)


def test_each_layer_is_measured_in_the_forms_it_has() -> None:
    timer = Timer()
    diagnosis = sc.doctor(model(), torch.ones(8, 32), measure=True, timer=timer, costs=costs)
    assert timer.asked == [("dense", "csr"), ("dense", "csr", "2:4"), ("dense",)]
    (any_zeros, half, full) = (layer.times[0] for layer in diagnosis.layers)
    assert any_zeros.measured
    assert (any_zeros.rows, any_zeros.best, any_zeros.gain) == (8, "csr", pytest.approx(4 / 3))
    assert (half.best, half.gain) == ("2:4", 4.0)
    assert full.seconds == {"dense": 4.0}
    assert diagnosis.summary.bound == pytest.approx(3.0)
    assert diagnosis.summary.expected == pytest.approx(12 / (3 + 1 + 4))
    assert "csr takes 3 s, dense 4 s (measured, 8 rows)" in diagnosis.layers[0].verdict.sentence


def test_what_was_measured_decides() -> None:
    """Constants say that CSR pays; the measurement, that it does not."""
    example = torch.ones(512, 32)
    estimated = sc.doctor(model()[:1], example, costs=costs)
    measured = sc.doctor(model()[:1], example, measure=True, timer=Timer(csr=5.0), costs=costs)
    assert estimated.verdicts == {"0.weight": "zeros-stored-dense"}
    assert measured.verdicts == {"0.weight": "below-break-even"}
    sentence = measured.layers[0].verdict.sentence
    assert "csr takes 5 s, dense 4 s" in sentence
    assert "pay below" not in sentence  # the estimate's limit, which the measurement contradicts


def test_less_than_five_percent_is_called_so() -> None:
    timer = Timer(csr=3.95)
    (layer,) = sc.doctor(
        model()[:1], torch.ones(512, 32), measure=True, timer=timer, costs=costs
    ).layers
    assert layer.verdict.code == "below-break-even"
    assert "gains less than 5 %" in layer.verdict.sentence


def test_weights_of_files_are_measured_for_each_batch(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    weights = {"a": pruned(16, 32, sparsity=0.6), "c": pruned(4, 4, 3, 3), "d": np.ones((8, 8))}
    save_file(weights, path)
    timer = Timer()
    diagnosis = sc.doctor(path, measure=True, batch=(1, 16), timer=timer, costs=costs)
    assert timer.asked == [("dense", "csr")] * 2
    assert [(time.rows, time.measured) for time in diagnosis["a"].times] == [(1, True), (16, True)]
    assert not any(time.measured for time in diagnosis["c"].times)
    assert diagnosis["d"].times == ()


def test_the_measured_product_is_the_weights() -> None:
    """A weight whose first axis is summed over is measured as its transpose."""
    from sparsecore.diagnosis.counting import count
    from sparsecore.diagnosis.facts import LayerFacts, LayerUse, bytes_of
    from sparsecore.diagnosis.measuring import measure_weight

    W = pruned(24, 8, sparsity=0.6)
    results: list[np.ndarray] = []

    def timer(contenders: Mapping[str, Callable[[], object]]) -> dict[str, Timing]:
        for call in contenders.values():
            module, x = call.func, call.args[0]  # type: ignore[attr-defined]
            dense = module.to_dense() if hasattr(module, "to_dense") else module
            results.append(dense.weight.detach().numpy())
            assert x.shape == (5, 24)
        return dict.fromkeys(contenders, Timing(1.0, 1.0, 1.0, 1))

    facts = LayerFacts(
        "w", W.shape, "float32", "dense", count(W), bytes_of(W.shape, 19, 4, 768),
        LayerUse("linear", "MatMul", reduction_axis=0),
    )  # fmt: skip
    assert measure_weight(facts, W, (5,), timer) == [(5, {"dense": 1.0, "csr": 1.0})]
    for weight in results:
        np.testing.assert_array_equal(weight, W.T)
