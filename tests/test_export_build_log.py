"""export/build_log.py: what TensorRT's logs say.

The logs are written by hand: after the Developer Guide's for TensorRT 8, and the messages that are
in public logs of TensorRT 10. TensorRT did not run for them.
"""

from pathlib import Path

import pytest

from sparsecore.export import BuildLog, read_build_log
from sparsecore.export.build_log import nodes_of, parse_build_log

ELIGIBLE = "(Sparsity) Layers eligible for sparse math: "
PICKED = "(Sparsity) TRT inference plan picked sparse implementation for layers: "
TIME = "[07/11/2023-10:00:00] [I] [TRT] "


def test_the_guides_example() -> None:
    log = parse_build_log(f"{TIME}{ELIGIBLE}conv1, conv2, conv3\n{TIME}{PICKED}conv2, conv3\n")
    assert log == BuildLog(("conv1", "conv2", "conv3"), ("conv2", "conv3"), 3, 2)
    assert log.not_picked == ("conv1",)


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "[TensorRT] INFO: ",
        "[TRT] [I] ",
        "[V] [TRT] ",
        "2024-05-08 12:00:00.1 [I:onnxruntime:, tensorrt_execution_provider.h:88 log] [2024] ",
        "    ",
    ],
)
def test_messages_of_any_logger(prefix: str) -> None:
    text = f"{TIME}Engine built\n{prefix}{ELIGIBLE}a\n{prefix}{PICKED}\n{TIME}Total Memory: 1\n"
    assert parse_build_log(text) == BuildLog(("a",), (), 1, 0)


def test_names_with_colons_slashes_and_plus_signs() -> None:
    text = f"{TIME}{ELIGIBLE}/l.0/Conv + /l.1/Relu, onnx::MatMul_7, a||b\n{TIME}{PICKED}a || b"
    log = parse_build_log(text)
    assert log.eligible == ("/l.0/Conv + /l.1/Relu", "onnx::MatMul_7", "a||b")


@pytest.mark.parametrize(
    ("logged", "nodes"),
    [
        ("conv1", ("conv1",)),
        ("conv1 + relu1", ("conv1", "relu1")),
        ("Conv_0 + PWN(Relu_1)", ("Conv_0", "Relu_1")),
        ("query || key || value", ("query", "key", "value")),
        ("a.weight + a/Quantize + a/Conv + b/Add", ("a.weight", "a/Quantize", "a/Conv", "b/Add")),
    ],
)
def test_fused_layers(logged: str, nodes: tuple[str, ...]) -> None:
    assert nodes_of(logged) == nodes


@pytest.mark.parametrize(
    ("prefix", "width"), [("", 20), ("", 33), (TIME, 60), (TIME, 80), (TIME, 101)]
)
def test_lines_that_a_terminal_wrapped(prefix: str, width: int) -> None:
    """Broken anywhere, as in public reports: "Mat" at the end of a line, "Mul_139" on the next."""
    names = [f"MatMul_{i} + Add_{i}" for i in range(30)]
    lines = [f"{prefix}{ELIGIBLE}{', '.join(names)}", f"{prefix}{PICKED}", f"{TIME}Total: 1"]
    wrapped = [line[i : i + width] for line in lines for i in range(0, len(line), width)]
    log = parse_build_log("\n".join(wrapped))
    assert [nodes_of(name) for name in log.eligible or ()] == [nodes_of(name) for name in names]
    assert log.picked == ()


def test_lines_that_an_editor_wrapped() -> None:
    log = parse_build_log(f"{TIME}{ELIGIBLE}a + b,\n    c +\n    d,\n    e\n\nnot, a, layer\n")
    assert [nodes_of(name) for name in log.eligible or ()] == [("a", "b"), ("c", "d"), ("e",)]


def test_colours_and_line_ends_of_other_systems(tmp_path: Path) -> None:
    path = tmp_path / "build.log"
    path.write_bytes(f"\x1b[32m{TIME}{ELIGIBLE}a, b\x1b[0m\r\n{TIME}{PICKED}b\r\n".encode())
    assert read_build_log(path) == BuildLog(("a", "b"), ("b",), 2, 1)


def test_counts_of_tensorrt_10() -> None:
    found = "(Sparsity) Found 3 layer(s) eligible to use sparse tactics"
    chose = "(Sparsity) Chose 1 layer(s) using sparse tactics"
    log = parse_build_log(f"{TIME}{found}\n{TIME}{chose}\n")
    assert log == BuildLog(None, None, 3, 1)
    assert log.not_picked is None
    named = parse_build_log(f"{TIME}{found}: a, b, c + d\n{TIME}{chose}: b\n")
    assert named == BuildLog(("a", "b", "c + d"), ("b",), 3, 1)
    assert named.not_picked == ("a", "c + d")


def test_the_last_of_several_passes_counts() -> None:
    a_pass = (
        f"{TIME}(Sparsity) Found {{0}} layer(s) eligible to use sparse tactics\n"
        f"{TIME}(Sparsity) Chose {{1}} layer(s) using sparse tactics\n"
    )
    log = parse_build_log(a_pass.format(9, 4) + a_pass.format(8, 2))
    assert (log.eligible_count, log.picked_count) == (8, 2)


def test_other_messages_about_sparsity_are_none_of_these() -> None:
    text = f"{TIME}{ELIGIBLE}a\n{TIME}(Sparsity) something new: b, c\n"
    assert parse_build_log(text).eligible == ("a",)


def test_a_log_without_sparsity_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "build.log"
    path.write_bytes(b"\xff\xfe binary [TRT] Engine built\n")
    with pytest.raises(ValueError, match=r"build.log: no line of it is about sparsity"):
        read_build_log(path)
    with pytest.raises(FileNotFoundError):
        read_build_log(tmp_path / "no.log")
