"""`sc.doctor` on ONNX files: uses from the graph, rows from the shape of its input."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

import sparsecore as sc  # noqa: E402
from diagnosis_cases import costs, pruned, two_of_four  # noqa: E402
from onnx_graphs import model, node, saved  # noqa: E402
from oracle import Array  # noqa: E402
from sparsecore.diagnosis import Diagnosis  # noqa: E402
from sparsecore.export.dense_engines import dense_engine_eligibility  # noqa: E402


def doctor(path: Path, **options: Any) -> Diagnosis:
    return sc.doctor(path, costs=costs, **options)


def network(path: Path) -> Path:
    """Write convolution, convolution, product: 3 x 8 x 8 images to 5 numbers."""
    nodes = [
        node("Conv", ["x", "c1"], ["a"], pads=[1, 1, 1, 1]),
        node("Relu", ["a"], ["b"]),
        node("Conv", ["b", "c2"], ["c"], strides=[2, 2], group=2),
        node("Flatten", ["c"], ["d"]),
        node("Gemm", ["d", "f"], ["y"], transB=1),
    ]
    tensors = {
        "c1": pruned(16, 3, 3, 3),
        "c2": pruned(16, 8, 2, 2),
        "f": pruned(5, 256),
    }
    return saved(path, model(nodes, tensors, inputs={"x": ("n", 3, 8, 8)}))


def product(path: Path, weight: Array, nodes: Iterable[Any]) -> Path:
    return saved(path, model(nodes, {"w": weight}, inputs={"x": ("n", weight.shape[0])}))


def test_rows_are_inferred(tmp_path: Path) -> None:
    path = network(tmp_path / "net.onnx")
    layers = {
        layer.name: layer.facts.use for layer in doctor(path, input_shape=(2, 3, 8, 8)).layers
    }
    assert {name: use.rows for name, use in layers.items() if use is not None} == {
        "c1": (2 * 64,),
        "c2": (2 * 16,),
        "f": (2,),
    }
    assert [use.macs for use in layers.values() if use is not None] == [
        128 * 16 * 27,
        32 * 16 * 32,
        2 * 5 * 256,
    ]
    summary = doctor(path, input_shape=(2, 3, 8, 8)).summary
    assert summary.macs == 128 * 16 * 27 + 32 * 16 * 32 + 2 * 5 * 256
    assert summary.basis == "macs"  # a convolution with groups has no estimate


def test_shapes_that_the_file_has_give_way(tmp_path: Path) -> None:
    """An exporter writes the shapes that it saw; here of 7 rows."""
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("MatMul", ["a", "w"], ["y"])]
    content = model(nodes, {"w": pruned(32, 32)}, inputs={"x": (7, 32)})
    path = saved(tmp_path / "seven.onnx", onnx.shape_inference.infer_shapes(content))
    (layer,) = doctor(path, input_shape=(3, 32)).layers
    assert layer.facts.use is not None
    assert layer.facts.use.rows == (3, 3)


def test_transposed_convolutions_have_no_kernel(tmp_path: Path) -> None:
    nodes = [node("ConvTranspose", ["x", "w"], ["y"])]
    content = model(nodes, {"w": pruned(8, 8, 2, 2)}, inputs={"x": (1, 8, 4, 4)})
    (layer,) = doctor(saved(tmp_path / "up.onnx", content)).layers
    assert layer.verdict.code == "no-kernel"
    assert "transposed convolutions" in layer.verdict.sentence


def test_without_a_shape_rows_are_unknown(tmp_path: Path) -> None:
    diagnosis = doctor(network(tmp_path / "net.onnx"))
    for layer in diagnosis.layers:
        assert layer.facts.use is not None
        assert layer.facts.use.rows == ()
    assert diagnosis.summary.macs is None
    assert any("inputs of layers are unknown" in note for note in diagnosis.notes)


@pytest.mark.parametrize(("axis", "code"), [(0, "zeros-stored-dense"), (1, "wrong-axis")])
def test_the_axis_of_a_product_is_the_graphs(tmp_path: Path, axis: int, code: str) -> None:
    """A product x @ w sums over the first axis; with w transposed on the way, over the second."""
    weight = two_of_four(64, 64, axis=axis)
    plain = product(tmp_path / "a.onnx", weight, [node("MatMul", ["x", "w"], ["y"])])
    turned = product(
        tmp_path / "b.onnx",
        weight.T.copy(),
        [node("Transpose", ["w"], ["v"]), node("MatMul", ["x", "v"], ["y"])],
    )
    for path in (plain, turned):
        (layer,) = doctor(path, input_shape=(64, 64)).layers
        assert layer.verdict.code == code
        assert layer.times[0].rows == 64


def test_recurrent_weights_are_24_along_their_last_axis(tmp_path: Path) -> None:
    """ONNX has one axis for directions before those of a matrix: it is never summed over."""
    nodes = [node("LSTM", ["x", "w", "r"], ["y"], hidden_size=16)]
    tensors = {"w": two_of_four(1, 64, 32), "r": pruned(1, 64, 16, sparsity=0.7)}
    path = saved(tmp_path / "lstm.onnx", model(nodes, tensors, inputs={"x": (5, 1, 32)}))
    w, r = doctor(path).layers
    assert (w.facts.lines_24, w.facts.share_24["axis 2"]) == (("axis 2",), 1.0)
    assert r.facts.share_24["axis 2"] < 1.0
    assert {w.verdict.code, r.verdict.code} == {"breaks-fusion"}
    assert "wrong-axis" not in w.codes | r.codes


def test_sparse_initializers_are_listed(tmp_path: Path) -> None:
    values = onnx.numpy_helper.from_array(np.ones(4, np.float32), "s")
    places = onnx.numpy_helper.from_array(np.array([0, 5, 10, 15]), "places")
    nodes = [node("MatMul", ["x", "s"], ["a"]), node("MatMul", ["a", "w"], ["y"])]
    content = model(nodes, {"w": pruned(4, 4)}, inputs={"x": (1, 4)})
    sparse = onnx.helper.make_sparse_tensor(values, places, [4, 4])
    content.graph.sparse_initializer.append(sparse)
    layers = doctor(saved(tmp_path / "sparse.onnx", content)).layers
    found = {layer.name: layer.verdict.code for layer in layers}
    assert found == {"w": "zeros-stored-dense", "s": "unknown"}


@pytest.mark.parametrize(
    ("nodes", "shape", "given", "rows"),
    [
        ([node("MatMul", ["w", "x"], ["y"])], (32, 16), (16, 1), 1),
        ([node("MatMul", ["w", "x"], ["y"])], (32, 16), (5, 16, 3), 15),
        ([node("MatMul", ["x", "w"], ["y"])], (16, 32), (5, 3, 16), 15),
        ([node("MatMul", ["x", "w"], ["y"])], (5, 16, 32), (5, 3, 16), 3),
        ([node("Gemm", ["w", "x"], ["y"])], (32, 16), (16, 3), 3),
        ([node("Gemm", ["w", "x"], ["y"], transA=1, transB=1)], (16, 32), (3, 16), 3),
        ([node("Gemm", ["x", "w"], ["y"], transB=1)], (32, 16), (3, 16), 3),
        ([node("LSTM", ["x", "w", "r"], ["y"], hidden_size=8)], (1, 32, 16), (7, 2, 16), 14),
        ([node("ConvTranspose", ["x", "w"], ["y"])], (8, 4, 2, 2), (1, 8, 4, 4), None),
        (
            [
                node("QuantizeLinear", ["w", "s", "z"], ["q"]),
                node("DequantizeLinear", ["q", "s", "z"], ["v"]),
                node("MatMul", ["x", "v"], ["y"]),
            ],
            (16, 32),
            (3, 16),
            3,
        ),
    ],
)
def test_rows_on_either_side(
    tmp_path: Path, nodes: list[Any], shape: tuple[int, ...], given: Any, rows: int | None
) -> None:
    """Of a product by hand: how many columns or rows the weight meets."""
    tensors = {
        "w": pruned(*shape),
        "r": pruned(1, 32, 8),
        "s": np.float32(0.1),
        "z": np.uint8(3),
    }
    axes = tuple("abcd"[: len(given)])
    path = saved(tmp_path / "product.onnx", model(nodes, tensors, inputs={"x": axes}))
    use = doctor(path, input_shape=given)["w"].facts.use
    assert use is not None
    assert use.rows == (() if rows is None else (rows,))
    assert use.macs == (None if rows is None else rows * np.prod(shape))


WIDENED = [node("DequantizeLinear", ["w", "s", "z"], ["v"]), node("MatMul", ["x", "v"], ["y"])]
INTEGERS = [node("MatMulInteger", ["x", "w", "", "z"], ["y"])]


@pytest.mark.parametrize("nodes", [WIDENED, INTEGERS])
@pytest.mark.parametrize("zero", [np.uint8(128), np.int8(-3), np.full(64, 7, np.uint8), np.int8(0)])
def test_the_zero_point_is_zero(tmp_path: Path, nodes: list[Any], zero: Array) -> None:
    """Of a weight that is 2:4 where its integers are its zero point; others of them are 0."""
    kept = two_of_four(64, 64, axis=0) * (1 + np.arange(64) % 4)
    weight = (kept.astype(zero.dtype) + zero).astype(zero.dtype)
    tensors = {"w": weight, "s": np.float32(0.1), "z": zero}
    path = saved(tmp_path / "integers.onnx", model(nodes, tensors, inputs={"x": ("n", 64)}))
    facts = doctor(path)["w"].facts
    assert facts.counts.nonzeros == np.count_nonzero(kept)
    assert facts.share_24 == {"axis 0": 1.0, "axis 1": 0.5}
    assert facts.dtype == str(zero.dtype)
    if nodes is WIDENED:  # of the operators that the export knows
        (judged,) = dense_engine_eligibility(path, "onnxruntime").layers
        assert judged.why.startswith(f"{1 - np.count_nonzero(kept) / kept.size:.1%} of it is zero")


def test_zero_points_that_are_not_known_are_unknown(tmp_path: Path) -> None:
    """Computed ones, and those of a column each."""
    weight, columns = np.full((16, 16), 3, np.uint8), np.arange(16, dtype=np.uint8)
    computed = [node("Identity", ["z"], ["c"]), node("DequantizeLinear", ["w", "s", "c"], ["v"])]
    for nodes, zero in ((computed, np.uint8(3)), (WIDENED[:1], columns)):
        tensors = {"w": weight, "s": np.ones(zero.shape, np.float32), "z": zero}
        content = model([*nodes, WIDENED[1]], tensors, inputs={"x": (1, 16)})
        layer = doctor(saved(tmp_path / "unknown.onnx", content))["w"]
        assert not layer.facts.counted
        assert layer.facts.sparsity == 0.0
        (judged,) = dense_engine_eligibility(tmp_path / "unknown.onnx", "onnxruntime").layers
        assert "computed" in judged.why or judged.verdict == "no weight"


def test_what_a_gather_reads_is_looked_up(tmp_path: Path) -> None:
    """A head that is tied to the embedding is multiplied, which counts more."""
    gather = node("Gather", ["w", "i"], ["y"])
    tied = [node("Gather", ["w", "i"], ["a"]), node("Gemm", ["a", "w"], ["y"], transB=1)]
    cast = node("Cast", ["x"], ["i"], to=onnx.TensorProto.INT64)
    for nodes, kind, code in (
        ([gather], "lookup", "looked-up"),
        (tied, "linear", "zeros-stored-dense"),
    ):
        content = model([cast, *nodes], {"w": pruned(64, 64)}, inputs={"x": ("n",)})
        (layer,) = doctor(saved(tmp_path / "gather.onnx", content), batch=512).layers
        assert layer.facts.use is not None
        assert (layer.facts.use.kind, layer.verdict.code) == (kind, code)
        assert bool(layer.times) == (kind == "linear")


@pytest.mark.parametrize("operands", [["w", "m"], ["m", "w"]])
def test_a_mask_in_the_graph(tmp_path: Path, operands: list[str]) -> None:
    nodes = [node("Mul", operands, ["v"]), node("MatMul", ["x", "v"], ["y"])]
    mask, weight = (pruned(64, 64) != 0).astype(np.float32), pruned(64, 64, sparsity=0.0)
    content = model(nodes, {"w": weight, "m": mask}, inputs={"x": ("n", 64)})
    (layer,) = doctor(saved(tmp_path / "masked.onnx", content)).layers
    assert (layer.name, layer.verdict.code) == ("w", "mask-in-forward")
    assert layer.facts.counts.nonzeros == np.count_nonzero(mask)
    assert "by a Mul of the graph" in layer.verdict.sentence


def test_a_scale_in_the_graph_is_no_mask(tmp_path: Path) -> None:
    nodes = [node("Mul", ["w", "s"], ["v"]), node("MatMul", ["x", "v"], ["y"])]
    tensors = {"w": pruned(64, 64), "s": pruned(64, 64, sparsity=0.0)}
    content = model(nodes, tensors, inputs={"x": ("n", 64)})
    found = doctor(saved(tmp_path / "scaled.onnx", content)).layers
    assert {layer.verdict.code for layer in found if layer.name == "w"} == {"not-exchangeable"}
    assert all(layer.facts.masked is None for layer in found)


def test_calls_of_one_weight_add_up(tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("MatMul", ["a", "w"], ["y"])]
    path = product(tmp_path / "twice.onnx", pruned(32, 32), nodes)
    (layer,) = doctor(path, input_shape=(4, 32)).layers
    assert layer.facts.use is not None
    assert layer.facts.use.rows == (4, 4)


def test_shapes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = network(tmp_path / "net.onnx")
    with pytest.raises(ValueError, match=r"net\.onnx: input_shape is \(2, 3\), but 'x' has 4 axes"):
        doctor(path, input_shape=(2, 3))
    with pytest.raises(ValueError, match=r"input_shape is \(2, 7, 8, 8\), .* 7 channels where 3"):
        doctor(path, input_shape=(2, 7, 8, 8))
    with pytest.raises(ValueError, match="does not fit"):
        doctor(path, input_shape=(2, 3, 12, 12))
    two = model([node("MatMul", ["x", "z"], ["y"])], {}, inputs={"x": (2, 2), "z": (2, 2)})
    both = saved(tmp_path / "two.onnx", two)
    with pytest.raises(ValueError, match="has the inputs 'x', 'z', and input_shape is for one"):
        doctor(both, input_shape=(2, 2))


def test_files_without_a_graph_say_so(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    np.savez(path, w=pruned(8, 8))
    notes = doctor(path, input_shape=(1, 8)).notes
    assert any("input_shape tells nothing here" in note for note in notes)
