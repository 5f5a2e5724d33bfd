"""export/tensorrt.py, judging.py, layers.py: which layers have what TensorRT asks for."""

import itertools
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import sparsecore as sc
from sparsecore.export.dense_engines import dense_engine_eligibility
from sparsecore.export.judging import share_of_24

onnx = pytest.importorskip("onnx")

from onnx_graphs import graph, model, node, saved  # noqa: E402


def has_sparse_weights(weights: np.ndarray) -> bool:
    """Decide by the Developer Guide's own loop over (K, C, R, S)."""
    K, C, R, S = weights.shape
    places = itertools.product(range(K), range(R), range(S), range(C // 4))
    return all(np.count_nonzero(weights[k, c * 4 : c * 4 + 4, r, s]) <= 2 for k, r, s, c in places)


def pruned(*shape: int, axis: int, dtype: Any = np.float32, seed: int = 0) -> np.ndarray:
    """Return random numbers that are 2:4 along an axis."""
    W = np.random.default_rng(seed).integers(1, 9, shape)
    mask = sc.pruning.NM(2, 4, axis=axis)
    kept = mask.fixed_count(shape)
    return np.where(sc.pruning.prune_mask(W, kept, mask), W, 0).astype(dtype)


def check(tmp_path: Path, nodes: list[Any], tensors: dict[str, Any], **options: Any) -> Any:
    path = saved(tmp_path / "m.onnx", model(nodes, tensors))
    return sc.export.tensorrt_eligibility(path, **options)


def only(tmp_path: Path, made: Any, **tensors: Any) -> Any:
    (layer,) = check(tmp_path, [made], tensors).layers
    return layer


CONV = node("Conv", ["x", "W"], ["y"], name="conv1")


# ---- the axis ----


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_of_a_convolution_along_the_input_channels(tmp_path: Path, axis: int) -> None:
    W = pruned(8, 8, 4, 4, axis=axis)
    layer = only(tmp_path, CONV, W=W)
    assert (layer.verdict == "eligible") == has_sparse_weights(W) == (axis == 1)
    assert (layer.share == 1) == (axis == 1)
    if axis != 1:
        assert f"it is 2:4 along axis {axis}" in layer.why


@pytest.mark.parametrize(
    ("made", "axis"),
    [
        (node("Gemm", ["x", "W"], ["y"]), 0),
        (node("Gemm", ["x", "W"], ["y"], transB=1), 1),
        (node("MatMul", ["x", "W"], ["y"]), 0),
    ],
)
def test_of_a_product_along_what_is_summed(tmp_path: Path, made: Any, axis: int) -> None:
    good = only(tmp_path, made, W=pruned(8, 8, axis=axis))
    assert good.verdict == ("unsure" if made.op_type == "MatMul" else "eligible")
    bad = only(tmp_path, made, W=pruned(8, 8, axis=1 - axis))
    assert bad.verdict == "not eligible"
    assert f"along axis {axis} have more than two" in bad.why
    assert f"2:4 along axis {1 - axis}" in bad.why


def test_through_a_transpose(tmp_path: Path) -> None:
    nodes = [node("Transpose", ["W"], ["T"]), node("MatMul", ["x", "T"], ["y"])]
    (layer,) = check(tmp_path, nodes, {"W": pruned(8, 8, axis=1)}).layers
    assert (layer.verdict, layer.share) == ("unsure", 1)
    assert "rewrite_matmul=True" in layer.why


def test_through_quantization(tmp_path: Path) -> None:
    """As quantizers write it: int8 numbers, dequantized before the layer."""
    nodes = [node("DequantizeLinear", ["W", "s"], ["F"]), node("Conv", ["x", "F"], ["y"], name="c")]
    tensors = {"W": pruned(8, 8, 3, 3, axis=1, dtype=np.int8), "s": np.float32(0.1)}
    (layer,) = check(tmp_path, nodes, tensors).layers
    assert (layer.name, layer.verdict, layer.dtype) == ("c", "eligible", "int8")


@pytest.mark.parametrize("seed", range(3))
def test_the_share_is_the_guides_count(seed: int) -> None:
    W = np.random.default_rng(seed).integers(0, 2, (3, 8, 2, 2))
    kept = [
        np.count_nonzero(W[k, c : c + 4, r, s]) <= 2
        for k, c, r, s in itertools.product(range(3), (0, 4), range(2), range(2))
    ]
    assert share_of_24(W, 1) == np.mean(kept)


# ---- the other reasons ----


@pytest.mark.parametrize(
    ("W", "attributes", "verdict", "why"),
    [
        (pruned(8, 6, 3, 3, axis=1), {}, "not eligible", "6 input channels, expected a multiple"),
        (pruned(8, 1, 3, 3, axis=1), {"group": 8}, "not eligible", "depthwise: 1 input channel"),
        (pruned(8, 4, 3, 3, axis=1), {"group": 2}, "unsure", "in 2 groups"),
        (pruned(8, 6, 3, 3, axis=1), {"group": 2}, "not eligible", "6 input channels a group"),
        (np.zeros((8, 0, 3, 3), np.float32), {}, "not eligible", "(8, 0, 3, 3) is empty"),
        (np.zeros((0, 4, 3, 3), np.float32), {}, "not eligible", "is empty"),
        (pruned(8, 8, 1, 1, axis=1, dtype=np.float64), {}, "not eligible", "weight is float64"),
        (pruned(8, 8, 1, 1, axis=1, dtype=np.int8), {}, "eligible", "2:4 along axis 1"),
    ],
)
def test_convolutions(
    tmp_path: Path, W: np.ndarray, attributes: dict[str, int], verdict: str, why: str
) -> None:
    layer = only(tmp_path, node("Conv", ["x", "W"], ["y"], **attributes), W=W)
    assert layer.verdict == verdict
    assert why in layer.why


@pytest.mark.parametrize(
    ("dtype", "noted"),
    [(np.float32, True), (np.float16, False), (ml_dtypes.bfloat16, False), (np.int8, False)],
)
def test_float32_is_noted(tmp_path: Path, dtype: Any, noted: bool) -> None:
    layer = only(tmp_path, CONV, W=pruned(256, 256, 1, 1, axis=1, dtype=dtype))
    assert layer.verdict == "eligible"
    assert any("TF32" in note for note in layer.notes) == noted
    assert len(layer.notes) == noted


@pytest.mark.parametrize(
    ("shape", "few"),
    [
        ((256, 256, 1, 1), False),
        ((256, 32, 3, 3), False),
        ((128, 256, 1, 1), True),
        ((256, 128, 1, 1), True),
    ],
)
def test_few_channels_are_noted(tmp_path: Path, shape: tuple[int, ...], few: bool) -> None:
    layer = only(tmp_path, CONV, W=pruned(*shape, axis=1, dtype=np.float16))
    assert bool(layer.notes) == few


def test_gemms_count_outputs_on_either_axis(tmp_path: Path) -> None:
    made = node("Gemm", ["x", "W"], ["y"])
    layer = only(tmp_path, made, W=pruned(512, 8, axis=0, dtype=np.float16))
    assert layer.notes[0].startswith("8 outputs of 512 numbers each")


def test_weights_that_are_computed(tmp_path: Path) -> None:
    nodes = [
        node("Mul", ["W", "s"], ["V"]),
        node("Conv", ["x", "V"], ["y"], name="conv"),
        node("MatMul", ["x", "y"], ["z"], name="attention"),
    ]
    tensors = {"W": pruned(8, 8, 1, 1, axis=1), "s": np.float32(2).reshape(1)}
    result = check(tmp_path, nodes, tensors)
    assert [layer.verdict for layer in result.layers] == ["not eligible", "no weight"]
    assert [layer.name for layer in result.not_eligible()] == ["conv"]
    assert result.not_eligible(["con*"]) == ()


def test_one_weight_of_two_layers_and_of_a_branch(tmp_path: Path) -> None:
    inner = graph([node("MatMul", ["x", "W"], ["b"], name="inner")], {}, "b")
    nodes = [
        node("MatMul", ["x", "W"], ["y"], name="first"),
        node("Gemm", ["x", "W"], ["z"]),
        node("If", ["c"], ["r"], then_branch=inner, else_branch=inner),
    ]
    result = check(tmp_path, nodes, {"W": pruned(8, 8, axis=0)})
    assert [(layer.name, layer.weight) for layer in result.layers[:3]] == [
        ("first", "W"),
        ("z", "W"),
        ("inner", "W"),
    ]


def test_layers_of_one_name_are_judged_by_themselves(tmp_path: Path) -> None:
    """Names of nodes need not differ: a dense layer is not the 2:4 one that has its name."""
    nodes = [
        node("Gemm", ["x", "A"], ["r"], name="fc", transB=1),
        node("Gemm", ["r", "B"], ["s"], name="fc", transB=1),
        node("Gemm", ["s", "A"], ["fc_2"], transB=1),
    ]
    result = check(tmp_path, nodes, {"A": pruned(8, 8, axis=1), "B": np.ones((8, 8), "f4")})
    assert [(layer.name, layer.weight, layer.share) for layer in result.layers] == [
        ("fc", "A", 1.0),
        ("fc_3", "B", 0.0),
        ("fc_2", "A", 1.0),
    ]


# ---- the log ----


@pytest.fixture
def logged(tmp_path: Path) -> Any:
    nodes = [
        node("Conv", ["x", "A"], ["a"], name="conv1"),
        node("Relu", ["a"], ["r"], name="relu1"),
        node("Conv", ["r", "B"], ["b"], name="conv2"),
        node("Conv", ["b", "C"], ["y"], name="conv3"),
    ]
    tensors = {n: pruned(8, 8, 1, 1, axis=1, seed=i) for i, n in enumerate("ABC")}
    log = tmp_path / "build.log"
    log.write_text(
        "[03/23/2021-00:14:05] [I] [TRT] (Sparsity) Layers eligible for sparse math: "
        "conv1 + relu1, conv2, other\n"
        "[03/23/2021-00:14:05] [I] [TRT] (Sparsity) TRT inference plan picked sparse "
        "implementation for layers: conv2\n"
    )
    return check(tmp_path, nodes, tensors, log=log)


def test_the_log_is_told_layer_by_layer(logged: Any) -> None:
    assert [(layer.logged_eligible, layer.picked) for layer in logged.layers] == [
        (True, False),
        (True, True),
        (False, False),
    ]
    assert logged.unmatched == ("other",)
    text = str(logged)
    assert "the build log: 3 eligible, 1 run by sparse kernels" in text
    assert "eligible, but a dense kernel was faster: conv1 + relu1, other" in text
    assert "conv3: not eligible by the log" in text
    assert "in the log, but not in the file: other" in text
    assert logged.to_dict()["layers"][1]["picked"] is True


def test_a_log_with_counts_only(tmp_path: Path) -> None:
    log = sc.export.BuildLog(None, None, 3, None)
    result = check(tmp_path, [CONV], {"W": pruned(8, 8, 1, 1, axis=1)}, log=log)
    assert (result.layers[0].logged_eligible, result.layers[0].picked) == (None, None)
    assert "3 eligible, an unknown number run by sparse kernels" in str(result)


# ---- models, other files, other runtimes ----


def test_a_model_with_sparse_layers_and_masks() -> None:
    torch = pytest.importorskip("torch")
    from torch.nn.utils import prune

    layers = [torch.nn.Linear(8, 4), torch.nn.Conv2d(8, 8, 3), torch.nn.Linear(8, 8)]
    net = torch.nn.Sequential(*layers)
    sc.pruning.prune(net, 0.5, pattern=sc.pruning.NM(2, 4, axis=1), where=lambda n, _: n[0] < "2")
    net[0] = sc.nn.Sparse24Linear.from_dense(net[0])
    prune.custom_from_mask(net[2], "weight", sc.prune_24(net[2].weight))
    result = sc.export.tensorrt_eligibility(net)
    assert result.source == "Sequential"
    assert [(la.name, la.operator, la.verdict) for la in result.layers] == [
        ("0", "Linear", "eligible"),
        ("1", "Conv", "eligible"),
        ("2", "Linear", "eligible"),
    ]
    assert any("MatMul where" in note for note in result.layers[0].notes)


def test_what_has_no_graph_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    sc.save_checkpoint(path, {"fc.weight": sc.CSR.from_dense(np.eye(8))})
    with pytest.raises(ValueError, match="a sparsecore file has no graph, expected an ONNX file"):
        sc.export.tensorrt_eligibility(path)
    with pytest.raises(TypeError, match="path_or_model is a int, expected a path or a torch"):
        sc.export.tensorrt_eligibility(3)  # type: ignore[arg-type]


def test_what_several_layers_have_is_said_once(tmp_path: Path) -> None:
    nodes = [node("Conv", ["x", "W"], ["y"]), node("Conv", ["y", "W"], ["z"])]
    text = str(check(tmp_path, nodes, {"W": pruned(8, 8, 1, 1, axis=1)}))
    assert "\n2 layers: float32: sparse in a build for fp16" in text
    assert text.count("TF32") == 1


def test_a_file_without_layers(tmp_path: Path) -> None:
    result = check(tmp_path, [node("Relu", ["x"], ["y"])], {})
    assert str(result).startswith(f"{tmp_path / 'm.onnx'}: no Conv, Gemm or MatMul")


def test_layers_in_functions_are_not_passed_over(tmp_path: Path) -> None:
    """A file whose layers are in functions of its own would seem to have none."""
    content = model([node("Part", ["x", "W"], ["y"], domain="own")], {"W": pruned(8, 8, axis=0)})
    inner = [node("MatMul", ["a", "b"], ["c"])]
    opset = onnx.helper.make_opsetid("", 17)
    part = onnx.helper.make_function("own", "Part", ["a", "b"], ["c"], inner, [opset])
    content.functions.append(part)
    path = saved(tmp_path / "m.onnx", content)
    with pytest.raises(ValueError, match="calls functions of its own, whose layers are not seen"):
        sc.export.tensorrt_eligibility(path)


def test_dense_engines_multiply_by_zeros(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.onnx", model([CONV], {"W": pruned(8, 8, 1, 1, axis=1)}))
    result = dense_engine_eligibility(path, "onnxruntime")
    assert result.layers[0].why == "50.0% of it is zero, and onnxruntime multiplies by each"
    assert len(result.not_eligible()) == 1
    with pytest.raises(ValueError, match="engine is 'tvm', expected one of"):
        dense_engine_eligibility(path, "tvm")


def test_advice_is_given_where_a_layer_needs_it() -> None:
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(8, 8)
    assert "sc.pruning.prune(model, 0.5" in sc.export.tensorrt_eligibility(model).note
    sc.pruning.prune(model, 0.5, pattern=sc.pruning.NM(2, 4, axis=1))
    assert "To prune" not in sc.export.tensorrt_eligibility(model).note
