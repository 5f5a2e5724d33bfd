"""export/gemm.py: a MatMul with a constant becomes a Gemm that computes the same."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from onnx import helper  # noqa: E402

import onnx_graphs  # noqa: E402
from sparsecore.export.gemm import matmuls_to_gemms  # noqa: E402

K, N = 6, 5


def model(x_shape, *nodes, outputs=("y",), **constants):
    """Return a model of one input x."""
    held = {name: array.astype(np.float32) for name, array in constants.items()}
    return onnx_graphs.model(nodes, held, inputs={"x": tuple(x_shape)}, outputs=outputs)


def matmul(left="x", right="B", output="y"):
    return helper.make_node("MatMul", [left, right], [output], name="fc/MatMul")


def add(left="p", right="b", output="y"):
    return helper.make_node("Add", [left, right], [output], name="fc/Add")


def numbers(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape)


def run(proto, x):
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})


def check(proto, x_shape, operators):
    """Rewrite, and compare with the product in float64."""
    x = numbers(*x_shape).astype(np.float32)
    before = run(proto, x)
    names = matmuls_to_gemms(proto)
    assert [node.op_type for node in proto.graph.node] == operators
    # Two sums of K products and a bias, each off by (K + 1) u of magnitudes up to 4.
    for one, other in zip(run(proto, x), before, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=(K + 1) * 2**-23 * 4 * K)
        assert one.shape == other.shape
    return names


B, b = numbers(K, N), numbers(N)


def test_two_axes() -> None:
    assert check(model([3, K], matmul(), B=B), (3, K), ["Gemm"]) == ("fc/MatMul_as_Gemm",)


def test_a_bias_becomes_part_of_it() -> None:
    for nodes in ([matmul(output="p"), add()], [matmul(output="p"), add("b", "p")]):
        check(model([3, K], *nodes, B=B, b=b), (3, K), ["Gemm"])


@pytest.mark.parametrize("shape", [[2, 3, K], ["batch", 3, K], [2, 2, 3, K]])
def test_more_axes_are_reshaped(shape) -> None:
    given = [4 if size == "batch" else size for size in shape]
    nodes = [matmul(output="p"), add()]
    check(model(shape, *nodes, B=B, b=b), given, ["Reshape", "Gemm", "Reshape"])


def test_a_product_that_others_read_keeps_its_add() -> None:
    nodes = [matmul(output="p"), add(), helper.make_node("Relu", ["p"], ["z"])]
    both = model([3, K], *nodes, outputs=("y", "z"), B=B, b=b)
    check(both, (3, K), ["Gemm", "Add", "Relu"])
    as_output = model([3, K], matmul(output="p"), add(), outputs=("y", "p"), B=B, b=b)
    check(as_output, (3, K), ["Gemm", "Add"])


@pytest.mark.parametrize("bias", [numbers(3, N), numbers(1)])
def test_another_shape_is_no_bias(bias) -> None:
    check(model([3, K], matmul(output="p"), add(), B=B, b=bias), (3, K), ["Gemm", "Add"])


def test_what_stays() -> None:
    batched = model([2, 3, K], matmul(), B=numbers(2, K, N))
    assert check(batched, (2, 3, K), ["MatMul"]) == ()
    two_open = model(["a", "b", K], matmul(), B=B)
    assert check(two_open, (2, 3, K), ["MatMul"]) == ()
    vector = model([K], matmul(), B=B)
    assert check(vector, (K,), ["MatMul"]) == ()
    left = model([K, 3], matmul("A", "x"), A=numbers(N, K))
    assert check(left, (K, 3), ["MatMul"]) == ()
