"""export/runtime.py: what onnxruntime's optimisers make of a graph, and what rounding explains."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx_graphs import model, node, saved  # noqa: E402
from sparsecore.export.runtime import allowed_error, optimised_constants, outputs_of  # noqa: E402
from sparsecore.export.zeros import check_zeros  # noqa: E402


@pytest.fixture
def path(tmp_path):
    """Return a convolution with a BatchNorm of negative factors, and an Identity of its weight."""
    rng = np.random.default_rng(0)
    W = rng.standard_normal((4, 4, 3, 3)).astype(np.float32)
    W[rng.random(W.shape) < 0.5] = 0
    numbers = rng.uniform(0.5, 2, (4, 4)).astype(np.float32)
    tensors = {"W": W, **dict(zip("gbmv", (-numbers[0], *numbers[1:]), strict=True))}
    nodes = [
        node("Identity", ["W"], ["V"]),
        node("Conv", ["x", "V"], ["c"]),
        node("BatchNormalization", ["c", "g", "b", "m", "v"], ["y"]),
    ]
    content = model(nodes, tensors, inputs={"x": (1, 4, 5, 5)})
    return saved(tmp_path / "m.onnx", content), W, tensors


def test_a_batchnorm_is_folded_and_zeros_stay(path, tmp_path):
    file, W, tensors = path
    held = optimised_constants(file, tmp_path)
    (folded,) = (array for array in held.values() if array.shape == W.shape)
    factor = tensors["g"] / np.sqrt(tensors["v"] + np.float32(1e-5))
    np.testing.assert_allclose(folded, W * factor[:, None, None, None], rtol=1e-5)
    (found,) = check_zeros({"W": W}, held, where="here")
    assert (found.how, found.zeros) == ("zeros", np.sum(W == 0))


def test_outputs(path):
    file, W, tensors = path
    x = torch.rand(1, 4, 5, 5)
    (y,) = outputs_of(file, [x])
    g, b, m, v = (torch.from_numpy(tensors[k]).double() for k in "gbmv")
    conv = torch.conv2d(x.double(), torch.from_numpy(W).double())
    expected = torch.nn.functional.batch_norm(conv, m, v, g, b)
    torch.testing.assert_close(y.double(), expected, rtol=0, atol=1e-5)


def test_other_inputs_than_tensors_are_said(path):
    with pytest.raises(RuntimeError, match="exported model has 1 inputs, example_inputs 2 tensors"):
        outputs_of(path[0], [torch.rand(1, 4, 5, 5)] * 2)


def test_what_rounding_explains():
    """Of fp16 products sums are in fp32, results in fp16; a bias and an integer count as nodes."""
    eps, half = torch.finfo(torch.float32).eps, torch.finfo(torch.float16).eps
    weights = {"a": torch.ones(5, 8, 3, 3), "b": torch.ones(5), "c": torch.ones(2, 2).long()}
    assert allowed_error(weights, nodes=0) == (8 * 9 + 2) * eps + eps
    assert allowed_error({"a": torch.ones(4, 10).half()}, nodes=3) == 12 * eps + 4 * half
    assert allowed_error({}, nodes=3) == 3 * eps
