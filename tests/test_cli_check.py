"""cli/check.py: the command, its exit codes, and files that are not what they say."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demo_cases import sparsecore

onnx = pytest.importorskip("onnx")

from onnx_graphs import model, node, saved  # noqa: E402


def weight(good: bool) -> np.ndarray:
    half = np.tile(np.float32([1, 0, 2, 0]), (8, 2))
    return half if good else np.ones_like(half)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    nodes = [
        node("Gemm", ["x", "A"], ["h"], name="fc1", transB=1),
        node("Gemm", ["h", "B"], ["y"], name="fc2", transB=1),
    ]
    tensors = {"A": weight(True), "B": weight(False)}
    return saved(tmp_path / "m.onnx", model(nodes, tensors))


def run(*arguments: Any, target: str = "tensorrt") -> Any:
    return sparsecore("check", *arguments, "--target", target)


def test_the_table(path: Path) -> None:
    result = run(path)
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.output.splitlines() if line.startswith("fc")]
    assert rows[0][-2:] == ["100.0%", "eligible"]
    assert rows[1][-3:] == ["0.0%", "not", "eligible"]
    assert "2 layers: 1 eligible, 1 not eligible" in result.output
    assert "TensorRT itself was not run" in result.output
    assert "sparsecore prune IN.onnx OUT.onnx --pattern 2:4" in result.output


def test_json(path: Path) -> None:
    result = run(path, "--json")
    found = json.loads(result.output)
    assert found["target"] == "tensorrt"
    assert [layer["verdict"] for layer in found["layers"]] == ["eligible", "not eligible"]
    assert found["layers"][0]["share"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((), 0),
        (("--fail",), 1),
        (("--fail", "--skip", "fc1"), 1),
        (("--fail", "--skip", "fc2"), 0),
        (("--fail", "--skip", "*2"), 0),
    ],
)
def test_exit_codes(path: Path, arguments: tuple[str, ...], code: int) -> None:
    assert run(path, *arguments).exit_code == code


def test_layers_are_skipped_by_their_weights_names(path: Path) -> None:
    layers = json.loads(run(path, "--json").output)["layers"]
    assert layers[1]["weight"] != layers[1]["name"]
    assert run(path, "--fail", "--skip", layers[1]["weight"]).exit_code == 0


def test_a_skip_of_no_layer_is_refused(path: Path) -> None:
    result = run(path, "--fail", "--skip", "x*")
    assert result.exit_code == 2
    assert "skip has 'x*', which is no layer's name" in result.output


def test_a_log(path: Path, tmp_path: Path) -> None:
    log = tmp_path / "build.log"
    log.write_text("[I] [TRT] (Sparsity) Layers eligible for sparse math: fc1\n")
    result = run(path, "--log", log)
    assert result.exit_code == 0, result.output
    assert "the build log: 1 eligible, an unknown number run by sparse kernels" in result.output


@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
def test_dense_engines(path: Path, target: str) -> None:
    result = run(path, "--fail", target=target)
    assert result.exit_code == 1
    assert "50.0% of it is zero" in result.output
    assert "itself was not run. Its kernels are dense" in result.output


def test_usage(path: Path) -> None:
    for arguments, message in (
        (("check", path), "Missing option '--target'"),
        (("check", path, "--target", "tvm"), "'tvm' is not one of"),
        (("check", path, "--target", "openvino", "--log", "x"), "--log is a log of TensorRT's"),
        (("check", path, "--target", "tensorrt", "--skip", "x"), "give --fail, too"),
    ):
        result = sparsecore(*arguments)
        assert result.exit_code == 2
        assert message in result.output


# ---- files that are not what they say ----


def lying(path: Path) -> bytes:
    """Return a model whose weight claims 2**60 numbers."""
    proto = onnx.load(path)
    proto.graph.initializer[0].dims[:] = [2**30, 2**30]
    return proto.SerializeToString()


def looping(path: Path) -> bytes:
    """Return a model whose nodes read one another."""
    proto = onnx.load(path)
    proto.graph.node[0].input[0] = "y"
    return proto.SerializeToString()


@pytest.mark.parametrize(
    "content",
    [
        lambda p: p.read_bytes()[:-40],
        lambda p: p.read_bytes()[: len(p.read_bytes()) // 2],
        lambda _: b"",
        lambda _: b"\xff" * 200,
        lying,
        looping,
    ],
)
def test_a_broken_file_is_one_line_and_exit_code_2(path: Path, content: Any) -> None:
    path.write_bytes(content(path))
    result = run(path, "--fail")
    assert result.exit_code == 2
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert len(result.output.strip().splitlines()) == 1
    assert result.output.startswith(f"Error: {path}: ")


def test_what_is_not_there_or_no_log_is_one_line(path: Path, tmp_path: Path) -> None:
    for arguments in ((tmp_path / "no.onnx",), (path, "--log", path), (tmp_path,)):
        result = run(*arguments)
        assert result.exit_code == 2
        assert len(result.output.strip().splitlines()) == 1


def test_names_of_a_graph_steer_no_terminal(tmp_path: Path) -> None:
    nodes = [node("Gemm", ["x", "A"], ["y"], name="fc\x1b[31m\nred")]
    path = saved(tmp_path / "m.onnx", model(nodes, {"A": weight(True)}))
    for target in ("tensorrt", "onnxruntime"):
        result = run(path, target=target)
        assert result.exit_code == 0
        assert "\x1b" not in result.output
        assert result.output.count("fc\\x1b[31m\\nred") == 2, "in the table and the reasons"
