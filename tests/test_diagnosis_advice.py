"""What `sc.doctor` says of files' bytes, against what ``sparsecore convert`` does with them."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

import sparsecore as sc
from diagnosis_cases import costs, pruned, two_of_four
from sparsecore.diagnosis import FIXABLE
from sparsecore.weight_files import open_weights
from sparsecore.weight_files.to_sparse import plan_sparse


def convert_says(path: Path) -> dict[str, str]:
    target = path.with_name("converted.safetensors")
    outcomes = plan_sparse(open_weights(path), target, (), None).outcomes
    return {outcome.name: outcome.stored for outcome in outcomes}


@pytest.mark.parametrize(
    "dtype", [np.float32, np.float16, np.int8, np.int32, ml_dtypes.float8_e4m3fn]
)
def test_what_convert_leaves_dense_is_not_advised(tmp_path: Path, dtype: type) -> None:
    """By dtype and axes, as convert decides them; rows so few that no time is gained.

    What has not the name that convert asks for is told so, and no verdict depends on it.
    """
    weight, columns = pruned(64, 64, dtype=dtype), two_of_four(64, 64, dtype=dtype)
    weights = {"a.weight": weight, "b.weight": columns, "other": weight, "bias": weight[0]}
    weights["c.weight"] = pruned(16, 8, 3, 3, dtype=dtype)
    weights["d.weight"] = pruned(4, 8, 8, dtype=dtype)
    weights["e.weight"] = np.ones((8, 8), dtype)
    path = tmp_path / "model.safetensors"
    save_file(weights, path)
    weights["other.weight"] = weights.pop("other")
    renamed = tmp_path / "renamed.safetensors"
    save_file(weights, renamed)
    converted = convert_says(renamed)
    for layer in sc.doctor(path, costs=costs, batch=1).layers:
        found = [v for v in (layer.verdict, *layer.further) if v.code in FIXABLE]
        is_renamed = layer.name == "other"
        stored = converted.get("other.weight" if is_renamed else layer.name, "dense")
        assert len(found) == (stored != "dense"), layer.name
        if layer.verdict.code == "unknown" and not layer.times:
            assert layer.verdict.advice == ""
        for verdict in found:
            name = " once it is called NAME.weight" if is_renamed else ""
            assert verdict.advice == f"sparsecore convert IN OUT stores it sparse{name}"
            assert f"; {stored} takes" in verdict.sentence


def test_the_dense_weights_of_a_sparse_checkpoint_cannot_be_converted(tmp_path: Path) -> None:
    path = tmp_path / "part.safetensors"
    W = pruned(64, 64)
    sc.save_checkpoint(path, {"a.weight": sc.CSR.from_dense(W), "b.weight": W})
    with pytest.raises(ValueError, match="already is a sparse checkpoint"):
        convert_says(path)
    assert "zeros-stored-dense" not in sc.doctor(path, costs=costs, batch=1)["b.weight"].codes
    quick = sc.doctor(path, costs=costs, batch=512)["b.weight"].verdict
    assert (quick.code, "sparsify_" in quick.advice) == ("zeros-stored-dense", True)
    assert "sparsecore convert" not in quick.advice


def test_numbers_with_a_zero_point_are_not_converted(tmp_path: Path) -> None:
    """Its zeros are other numbers in the file, which a sparse form would store."""
    onnx = pytest.importorskip("onnx")
    from onnx_graphs import model, saved

    nodes = [
        onnx.helper.make_node("DequantizeLinear", ["fc.weight", "s", "z"], ["v"]),
        onnx.helper.make_node("MatMul", ["x", "v"], ["y"]),
    ]
    weight = pruned(64, 64, dtype=np.int8) + np.int8(3)
    tensors = {"fc.weight": weight, "s": np.float32(0.1), "z": np.int8(3)}
    path = saved(tmp_path / "integers.onnx", model(nodes, tensors, inputs={"x": ("n", 64)}))
    assert convert_says(path) == {"fc.weight": "dense"}
    layer = sc.doctor(path, costs=costs)["fc.weight"]
    assert layer.facts.sparsity > 0.89
    assert not layer.codes & set(FIXABLE)
