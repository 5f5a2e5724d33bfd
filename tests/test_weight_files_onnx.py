"""weight_files/from_onnx.py, onnx_tensors.py, onnx_uses.py: tensors of graphs, and their uses."""

import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from sparsecore.conv_geometry import ConvGeometry
from sparsecore.weight_files import Entry, Use, open_weights
from sparsecore.weight_files.writing import plan_writing

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper  # noqa: E402

from onnx_graphs import graph, model, node, saved  # noqa: E402

W = np.arange(24, dtype=np.float32).reshape(4, 6)
K = np.ones((4, 2, 3, 3), np.float32)


def uses(tmp_path: Path, nodes: list[Any], tensors: dict[str, Any]) -> dict[str, Entry]:
    return dict(open_weights(saved(tmp_path / "m.onnx", model(nodes, tensors))))


# ---- what is multiplied by a tensor ----


@pytest.mark.parametrize(
    ("made", "use"),
    [
        (node("Gemm", ["x", "W"], ["y"]), Use("Gemm", 0)),
        (node("Gemm", ["x", "W"], ["y"], transB=1), Use("Gemm", 1)),
        (node("Gemm", ["W", "x"], ["y"]), Use("Gemm", 1)),
        (node("Gemm", ["W", "x"], ["y"], transA=1), Use("Gemm", 0)),
        (node("MatMul", ["x", "W"], ["y"]), Use("MatMul", 0)),
        (node("MatMul", ["W", "x"], ["y"]), Use("MatMul", 1)),
        (node("MatMulInteger", ["x", "W"], ["y"]), Use("MatMulInteger", 0)),
        (node("Gather", ["W", "x"], ["y"]), None),
        (node("Add", ["x", "W"], ["y"]), None),
        (node("MatMul", ["x", "W"], ["y"], domain="elsewhere"), None),
    ],
)
def test_products(tmp_path: Path, made: Any, use: Use | None) -> None:
    assert uses(tmp_path, [made], {"W": W})["W"].use == use


@pytest.mark.parametrize(
    ("attributes", "geometry"),
    [
        ({}, ConvGeometry.of(3)),
        (
            {"strides": [2, 1], "pads": [1, 0, 1, 0], "dilations": [1, 2]},
            ConvGeometry((3, 3), (2, 1), (1, 0), (1, 2), 1),
        ),
        ({"group": 2}, ConvGeometry.of(3, groups=2)),
        ({"pads": [1, 1, 0, 0]}, None),
        ({"auto_pad": "SAME_UPPER"}, None),
        ({"auto_pad": "VALID"}, ConvGeometry.of(3)),
        ({"strides": [-1, 1]}, None),
    ],
)
def test_convolutions(
    tmp_path: Path, attributes: dict[str, Any], geometry: ConvGeometry | None
) -> None:
    made = node("Conv", ["x", "K"], ["y"], **attributes)
    use = Use("Conv", 1, geometry, attributes.get("group", 1))
    assert uses(tmp_path, [made], {"K": K})["K"].use == use


def test_other_convolutions_and_recurrent_layers(tmp_path: Path) -> None:
    nodes = [
        node("ConvTranspose", ["x", "T"], ["a"], group=2),
        node("Conv", ["x", "C"], ["b"]),
        node("QLinearConv", ["x", "s", "z", "Q", "s", "z", "s", "z"], ["c"]),
        node("LSTM", ["x", "L", "R"], ["y"]),
    ]
    tensors = {"T": K, "C": K[0], "Q": K.astype(np.int8), "L": K[0], "R": K[0]}
    found = {name: entry.use for name, entry in uses(tmp_path, nodes, tensors).items()}
    assert found == {
        "T": Use("ConvTranspose", 0, None, 2),
        "C": Use("Conv", 1),
        "Q": Use("QLinearConv", 1, ConvGeometry.of(3)),
        "L": Use("LSTM", 2),
        "R": Use("LSTM", 2),
    }


def test_a_tensor_is_followed_through_what_only_moves_it(tmp_path: Path) -> None:
    nodes = [  # not in the order in which they run
        node("MatMul", ["x", "dequantized"], ["y"]),
        node("Identity", ["Q"], ["q"]),
        node("Transpose", ["q"], ["turned"], perm=[1, 0]),
        node("DequantizeLinear", ["turned", "scale"], ["dequantized"]),
        node("Reshape", ["W", "shape"], ["flat"]),
        node("MatMul", ["x", "flat"], ["z"]),
    ]
    scalars = {"scale": np.float32(1), "shape": np.array([6, 4])}
    found = uses(tmp_path, nodes, {"Q": W.astype(np.int8), "W": W, **scalars})
    assert found["Q"].use == Use("MatMul", 1)  # the axis of Q itself
    assert found["W"].use is None


def test_a_tensor_of_two_operators_has_both(tmp_path: Path) -> None:
    nodes = [node("Gemm", ["x", "W"], ["h"], transB=1), node("MatMul", ["h", "W"], ["y"])]
    entry = uses(tmp_path, nodes, {"W": W})["W"]
    assert (entry.use, entry.other_uses) == (Use("Gemm", 1), (Use("MatMul", 0),))


def test_branches_have_tensors_and_use_those_outside(tmp_path: Path) -> None:
    then = graph([node("MatMul", ["x", "W"], ["t"])], {}, "t")
    other = graph([node("Gemm", ["x", "V"], ["e"])], {"V": W}, "e")
    branch = node("If", ["flag"], ["y"], then_branch=then, else_branch=other)
    found = uses(tmp_path, [branch], {"W": W, "flag": np.array(True)})
    assert found["W"].use == Use("MatMul", 0)
    assert found["V"].use == Use("Gemm", 0)


def test_constants_are_weights_too(tmp_path: Path) -> None:
    value = onnx.numpy_helper.from_array(W, "ignored")
    nodes = [node("Constant", [], ["C"], value=value), node("MatMul", ["x", "C"], ["y"])]
    path = saved(tmp_path / "m.onnx", model(nodes, {}))
    opened = open_weights(path)
    assert opened["C"].use == Use("MatMul", 0)
    np.testing.assert_array_equal(opened.dense("C"), W, strict=True)


# ---- numbers ----


@pytest.mark.parametrize(
    "dtype",
    [
        *("float32", "float64", "float16", "int8", "uint8", "int16", "uint16", "int32"),
        *("uint32", "int64", "uint64", "bool", "bfloat16", "float8_e4m3fn", "float8_e5m2"),
    ],
)
@pytest.mark.parametrize("raw", [True, False])
def test_every_dtype_in_both_ways_of_storing(tmp_path: Path, dtype: str, raw: bool) -> None:
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    array = np.array([[0, 1, 2], [1, 0, 3]]).astype(kind)
    number = helper.np_dtype_to_tensor_dtype(kind)
    data = array.tobytes() if raw else array.ravel().tolist()
    proto = helper.make_tensor("A", number, array.shape, data, raw=raw)
    for external in (None, "data.bin") if raw else (None,):
        path = saved(tmp_path / f"{external}.onnx", model([], {"A": proto}), external=external)
        opened = open_weights(path)
        assert opened["A"] == Entry("A", (2, 3), dtype, array.nbytes, "dense")
        np.testing.assert_array_equal(opened.dense("A"), array, strict=True)


def test_packed_and_text_tensors_are_listed_only(tmp_path: Path) -> None:
    text = helper.make_tensor("T", TensorProto.STRING, [1, 1], ["a"])
    four = helper.make_tensor("F", TensorProto.INT4, [2, 2], [1, 2, 3, 4])
    opened = open_weights(saved(tmp_path / "m.onnx", model([], {"T": text, "F": four})))
    assert [(entry.name, entry.dtype) for entry in opened.values()] == [
        ("T", "string"),
        ("F", "int4"),
    ]
    with pytest.raises(ValueError, match=r"m\.onnx: 'F' has dtype int4, which is not read"):
        opened.read("F")


def test_sparse_tensors_are_listed_only(tmp_path: Path) -> None:
    made = model([node("MatMul", ["x", "S"], ["y"])], {})
    values = helper.make_tensor("S", TensorProto.FLOAT, [2], [1.0, 2.0])
    indices = helper.make_tensor("i", TensorProto.INT64, [2], [3, 5])
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [2, 4]))
    opened = open_weights(saved(tmp_path / "m.onnx", made))
    assert opened["S"] == Entry("S", (2, 4), "float32", 8, "sparse", Use("MatMul", 0))
    with pytest.raises(ValueError, match="'S' is stored as a sparse tensor, which is not read"):
        opened.read("S")


def test_external_data_stay_where_they_are(tmp_path: Path) -> None:
    """Opening a model reads none of them: they are a sparse file that would not fit in memory."""
    big = 1 << 40
    proto = TensorProto(name="W", data_type=TensorProto.FLOAT, dims=(1 << 19, 1 << 19))
    proto.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "data.bin"), ("offset", "64"), ("length", str(big))):
        proto.external_data.add(key=key, value=value)
    small = onnx.numpy_helper.from_array(W, "small")
    with (tmp_path / "data.bin").open("wb") as file:
        file.truncate(big + 64)
    path = saved(tmp_path / "m.onnx", model([], {"W": proto, "small": small}))
    opened = open_weights(path)
    assert opened["W"].nbytes == big
    assert opened.nbytes == big + 64 + path.stat().st_size
    np.testing.assert_array_equal(opened.dense("small"), W)


# ---- files that lie ----


def external(**keys: str) -> Any:
    proto = TensorProto(name="W", data_type=TensorProto.FLOAT, dims=(2, 3))
    proto.data_location = TensorProto.EXTERNAL
    for key, value in ({"location": "data.bin"} | keys).items():
        proto.external_data.add(key=key, value=value)
    return proto


@pytest.mark.parametrize(
    ("proto", "message"),
    [
        (external(location="../data.bin"), "expected a file in its folder"),
        (external(location="/etc/passwd"), "expected a file in its folder"),
        (external(location="link"), "expected a file in its folder"),
        (external(location=""), "expected a file in its folder"),
        (external(location="none.bin"), "is not there"),
        (external(offset="8", length="24"), "bytes 8 to 32 of 'data.bin', which has 24"),
        (external(offset="30"), "bytes 30 to 30 of 'data.bin', which has 24"),
        (external(offset="-1"), "is '-1', expected a number"),
        (external(offset="9" * 5000), "expected a number"),
        (external(length="20"), "takes 24 bytes of float32, it has 20"),
        (external(length="28", location="more.bin"), "takes 24 bytes of float32, it has 28"),
        (external(offset="4"), "takes 24 bytes of float32, it has 20"),
        (TensorProto(name="W", data_type=1, dims=(1 << 40, 1 << 40)), "it has 0"),
        (TensorProto(name="W", data_type=1, dims=(-1, 2)), r"has shape \(-1, 2\)"),
        (TensorProto(name="W", data_type=1, dims=(2,), raw_data=b"\0" * 7), "it has 7"),
        (TensorProto(name="W", data_type=1, dims=(2,), raw_data=b"\0" * 12), "it has 12"),
        (TensorProto(name="W", data_type=10, dims=(2,), int32_data=[1]), "it has 2"),
        (TensorProto(data_type=1, dims=(0,)), "a tensor has no name"),
    ],
)
def test_tensors_that_lie(tmp_path: Path, proto: Any, message: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "data.bin").write_bytes(bytes(24))
    (tmp_path / "in" / "data.bin").write_bytes(bytes(24))
    (tmp_path / "in" / "more.bin").write_bytes(bytes(28))
    (tmp_path / "in" / "link").symlink_to(tmp_path / "data.bin")
    path = saved(tmp_path / "in" / "m.onnx", model([], {"W": proto}))
    with pytest.raises(ValueError, match=rf"m\.onnx: .*{message}"):
        open_weights(path)


@pytest.mark.parametrize(
    ("nodes", "tensors", "message"),
    [
        (
            [node("Identity", ["b"], ["a"]), node("Identity", ["a"], ["b"])],
            {},
            "goes in a circle through the node '', a Identity",
        ),
        ([node("Relu", ["x"], ["a"]), node("Relu", ["x"], ["a"])], {}, "value 'a' twice"),
        ([node("Relu", ["x"], ["W"])], {"W": W}, "'W' is a tensor, and a node makes it, too"),
        ([node("Transpose", ["W"], ["a"], perm=[0, 0])], {"W": W}, r"2 axes by \[0, 0\]"),
    ],
)
def test_graphs_that_are_none(
    tmp_path: Path, nodes: list[Any], tensors: dict[str, Any], message: str
) -> None:
    path = saved(tmp_path / "m.onnx", model(nodes, tensors))
    with pytest.raises(ValueError, match=rf"m\.onnx: .*{message}"):
        open_weights(path)


def test_a_name_that_is_there_twice(tmp_path: Path) -> None:
    made = model([], {"W": W})
    made.graph.initializer.append(made.graph.initializer[0])
    with pytest.raises(ValueError, match="two tensors are called 'W'"):
        open_weights(saved(tmp_path / "m.onnx", made))


def test_branches_may_have_tensors_of_one_name(tmp_path: Path) -> None:
    """The later one has a number, also in what is written; that computes the same."""
    reference = pytest.importorskip("onnx.reference")
    nodes = [node("Transpose", ["W"], ["t"]), node("MatMul", ["x", "t"], ["r"])]
    then = graph(nodes, {"W": W, "W_2": W[:1]}, "r")
    other = graph(nodes, {"W": -W}, "r")
    branch = node("If", ["flag"], ["y"], then_branch=then, else_branch=other)
    inputs = {"x": (None, 6), "flag": ()}
    made = model([branch], {}, inputs=inputs)
    made.graph.input[1].type.tensor_type.elem_type = TensorProto.BOOL
    opened = open_weights(saved(tmp_path / "m.onnx", made))
    assert list(opened) == ["W", "W_3", "W_2"], "the else branch comes first"
    assert [opened[name].use for name in opened] == [Use("MatMul", 1), Use("MatMul", 1), None]
    np.testing.assert_array_equal(opened.dense("W_3"), W)
    double = opened.replacing({"W_3": lambda: 2 * W})
    plan_writing(double, tmp_path / "out.onnx", "onnx").write()
    run = reference.ReferenceEvaluator(onnx.load(tmp_path / "out.onnx")).run
    x = np.ones((1, 6), np.float32)
    for flag, expected in ((True, x @ (2 * W).T), (False, x @ -W.T)):
        (y,) = run(None, {"x": x, "flag": np.array(flag)})
        np.testing.assert_array_equal(y, expected)


def test_a_branch_within_a_branch_takes_what_was_renamed(tmp_path: Path) -> None:
    """Unless it has a tensor of that name itself."""
    takes = graph([node("MatMul", ["x", "W"], ["a"])], {}, "a")
    has = graph([node("Gemm", ["x", "W"], ["b"])], {"W": 3 * W}, "b")
    inside = node("If", ["flag"], ["r"], then_branch=takes, else_branch=has)
    then = graph([inside], {"W": 2 * W}, "r")
    other = graph([node("Gemm", ["x", "W"], ["s"], transB=1)], {"W": W}, "s")
    branch = node("If", ["flag"], ["y"], then_branch=then, else_branch=other)
    opened = open_weights(saved(tmp_path / "m.onnx", model([branch], {"flag": np.array(True)})))
    found = {opened.dense(n)[0, 1]: opened[n].use for n in opened if n != "flag"}
    assert found == {1: Use("Gemm", 1), 2: Use("MatMul", 0), 3: Use("Gemm", 0)}


def test_the_extra_is_named_where_onnx_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "m.onnx", model([], {}))
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'sparsecore\[export\]'"):
        open_weights(path)
