"""`sc.doctor` on machines that are faster or slower from run to run: facts stay, times may not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import sparsecore as sc
from diagnosis_cases import costs, pruned, two_of_four
from sparsecore.diagnosis import Costs, Line, Problem
from sparsecore.diagnosis.machine import CostsOf


def machine(dense: float = 1.0, csr: float = 1.0) -> CostsOf:
    """Return the round constants with dense and sparse kernels that take so much longer."""

    def scaled(line: Line, factor: float) -> Line:
        return Line(line.call * factor, line.mac * factor, line.edge * factor)

    def found(problem: Problem) -> Costs:
        known = costs(problem)
        return replace(known, dense=scaled(known.dense, dense), csr=scaled(known.csr, csr))

    return found


def alike(ratio: float) -> CostsOf:
    """Return a machine on which calls of CSR take `ratio` of those of dense, and nothing else."""
    line = Line(10e-6, 0.0)
    return lambda _: Costs(line, Line(ratio * 10e-6, 0.0), None, 0.0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    weights = {
        "image.weight": pruned(16, 16, 3, 3, sparsity=0.5),
        "half.weight": two_of_four(64, 64),
        "head.weight": pruned(10, 64, sparsity=0.6),
        "many.weight": pruned(64, 64, sparsity=0.95),
        "full.weight": pruned(64, 64, sparsity=0.0),
    }
    save_file(weights, path)
    return path


@pytest.mark.parametrize(("dense", "csr"), [(1.0, 1.0), (0.3, 1.0), (3.0, 1.0), (1.0, 1.8)])
def test_what_a_file_holds_does_not_hang_on_the_machine(
    file: Path, dense: float, csr: float
) -> None:
    found = sc.doctor(file, costs=machine(dense, csr))
    stored = {f"{name}.weight": "zeros-stored-dense" for name in ("image", "half", "head", "many")}
    assert found.verdicts == {**stored, "full.weight": "no-zeros"}


def test_a_convolution_is_not_judged_by_rows_that_nobody_gave(file: Path) -> None:
    layer = sc.doctor(file, costs=costs)["image.weight"]
    assert layer.times == ()
    assert "whether a sparse kernel is faster is unknown" in layer.further[0].sentence
    given = sc.doctor(file, costs=costs, batch=(1, 4096))["image.weight"]
    assert [time.rows for time in given.times] == [1, 4096]


def test_every_number_of_rows_is_named(file: Path) -> None:
    """At 256 rows CSR gains, at one it loses: both are said."""
    sentence = sc.doctor(file, costs=costs)["many.weight"].verdict.sentence
    assert "(estimated, 256 rows)" in sentence
    assert "; but csr should take 20.4 us, dense 14.1 us (estimated, 1 row)" in sentence


@pytest.mark.parametrize(
    ("ratio", "code"), [(1.11, "unknown"), (1.19, "unknown"), (1.21, "shape"), (0.9, "unknown")]
)
def test_too_small_is_said_beyond_the_error_only(ratio: float, code: str) -> None:
    torch = pytest.importorskip("torch")
    layer = torch.nn.Linear(64, 10)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(pruned(10, 64)))
    model = torch.nn.Sequential(layer)
    (found,) = sc.doctor(model, torch.ones(8, 64), costs=alike(ratio)).layers
    assert found.verdict.code == code
    assert found.times[0].is_too_small == (ratio > 1.2)


def test_without_rows_nothing_is_too_small(tmp_path: Path) -> None:
    """All but full, so that no sparse form takes fewer bytes: times alone are left to judge by."""
    weight = np.ones((16, 16), np.float32)
    weight[0, 0] = 0
    save_file({"w": weight}, tmp_path / "w.safetensors")
    (found,) = sc.doctor(tmp_path / "w.safetensors", costs=alike(2.0)).layers
    assert found.verdict.code == "below-break-even"
    for rows in ("1 row)", "256 rows)"):
        assert rows in found.verdict.sentence


@pytest.mark.parametrize(("ratio", "words"), [(1.1, "not clearly faster: csr"), (0.5, "; csr")])
def test_sparse_already_is_not_called_faster_where_it_may_not_be(
    tmp_path: Path, ratio: float, words: str
) -> None:
    path = tmp_path / "sparse.safetensors"
    sc.save_checkpoint(path, {"a.weight": sc.CSR.from_dense(pruned(64, 64))})
    (found,) = sc.doctor(path, costs=alike(ratio)).layers
    assert found.verdict.code == "runs-sparse"
    assert words in found.verdict.sentence
    assert ("clearly" in found.verdict.sentence) == (ratio > 1)


@pytest.mark.parametrize(("rows", "codes"), [(8, {"wrong-axis"}), (4096, {"zeros-stored-dense"})])
def test_of_a_model_what_gains_comes_before_the_wrong_axis(rows: int, codes: set[str]) -> None:
    """With many rows CSR gains 1.4x at half of the entries: that can be had at once."""
    torch = pytest.importorskip("torch")
    layer = torch.nn.Linear(64, 64)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(two_of_four(64, 64, axis=0)))
    found = sc.doctor(
        torch.nn.Sequential(layer), torch.ones(rows, 64), costs=machine(csr=0.7 if rows > 8 else 1)
    )
    assert set(found.verdicts.values()) == codes
    assert found.layers[0].codes >= {"wrong-axis", "zeros-stored-dense"}
    assert found.summary.could_gain == (1.0 if rows > 8 else 0.0)


@pytest.mark.parametrize("csr", [0.3, 1.0, 3.0])
def test_of_a_file_the_wrong_axis_is_the_verdict_whatever_gains(tmp_path: Path, csr: float) -> None:
    pytest.importorskip("onnx")
    from onnx_graphs import model, node, saved

    content = model(
        [node("MatMul", ["x", "w"], ["y"])],
        {"w": two_of_four(64, 64, axis=1)},
        inputs={"x": ("n", 64)},
    )
    found = sc.doctor(saved(tmp_path / "w.onnx", content), costs=machine(csr=csr))
    assert found.verdicts == {"w": "wrong-axis"}
