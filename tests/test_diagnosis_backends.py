"""diagnosis/backends.py: which kernels could take a weight, as their own modules have it."""

from __future__ import annotations

import itertools

import ml_dtypes
import numpy as np
import pytest

import sparsecore as sc
from diagnosis_cases import pruned, two_of_four
from oracle import Array
from sparsecore.diagnosis.backends import Backend, backends, is_24, is_24_by_chance
from sparsecore.diagnosis.counting import count
from sparsecore.diagnosis.facts import LayerFacts, LayerUse, bytes_of
from sparsecore.diagnosis.findings import findings
from sparsecore.export.judging import judge
from sparsecore.export.layers import Layer, Weight

LINEAR = LayerUse("linear", "Gemm", 1)
MATMUL = LayerUse("linear", "MatMul", 0)
CONV = LayerUse("convolution", "Conv", 1, kernel_size=(3, 3))
POINTWISE = LayerUse("convolution", "Conv", 1, kernel_size=(1, 1))
GROUPED = LayerUse("convolution", "Conv", 1, groups=2, kernel_size=(3, 3))


def facts(weight: Array, use: LayerUse | None) -> LayerFacts:
    counts = count(weight)
    nbytes = bytes_of(weight.shape, counts.nonzeros, weight.itemsize, weight.nbytes)
    dtype = str(weight.dtype)
    return LayerFacts("w", weight.shape, dtype, "dense", counts, nbytes, use, in_file=True)


def able(weight: Array, use: LayerUse | None) -> dict[str, Backend]:
    return {backend.name: backend for backend in backends(facts(weight, use))}


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8, np.float64, np.int32])
@pytest.mark.parametrize(
    ("use", "shape"),
    [
        (LINEAR, (16, 32)),
        (LINEAR, (16, 30)),
        (MATMUL, (32, 16)),
        (CONV, (8, 4, 3, 3)),
        (CONV, (8, 3, 3, 3)),
        (GROUPED, (8, 4, 3, 3)),
    ],
)
def test_tensorrt_as_the_export_judges(dtype: type, use: LayerUse, shape: tuple[int, ...]) -> None:
    """Weights that are 2:4 along either axis, and by no axis."""
    axis = use.reduction_axis
    assert axis is not None
    for weight in (
        two_of_four(*shape, axis=axis, dtype=dtype),
        two_of_four(*shape, axis=1 - axis, dtype=dtype),
        np.ones(shape, dtype),
    ):
        read = Weight("w", shape, str(weight.dtype), axis, use.groups, lambda w=weight: w)
        judged = judge(Layer("w", use.operator, read)).verdict
        expected = {"eligible": True, "not eligible": False, "unsure": None}[judged]
        assert able(weight, use)["tensorrt"].eligible is expected


def test_this_packages_kernels_take_what_they_say() -> None:
    """Every dtype: a matrix in a format can be made where its backend says so, and multiplies."""
    dtypes = (np.float64, np.float32, np.float16, ml_dtypes.bfloat16, np.int8, np.int16, np.bool_)
    for dtype, name in itertools.product(dtypes, ("csr", "2:4")):
        weight = two_of_four(16, 16, dtype=dtype)
        form = sc.CSR if name == "csr" else sc.Sparse24
        try:
            A = form.from_dense(weight)
            A @ np.ones((16, 2), weight.dtype)
            works = True
        except TypeError:
            works = False
        assert able(weight, LINEAR)[name].eligible is works, (dtype, name)


def test_24_has_to_lie_along_the_sum() -> None:
    right, wrong = two_of_four(16, 16, axis=1), two_of_four(16, 16, axis=0)
    assert able(right, LINEAR)["2:4"].eligible is True
    assert able(wrong, LINEAR)["2:4"].eligible is False
    assert able(wrong, LayerUse("linear", "Gemm", 0))["2:4"].eligible is True
    assert able(right, None)["2:4"].eligible is None
    assert able(pruned(16, 16, sparsity=0.3), None)["2:4"].eligible is False


@pytest.mark.parametrize("groups", [1, 64])
def test_lines_of_one_number_are_not_24(groups: int) -> None:
    """Of one input channel a group, whatever the zeros."""
    weight = pruned(64, 1, 5, 5, sparsity=0.3)
    found = facts(weight, LayerUse("convolution", "Conv", 1, groups, (5, 5)))
    assert found.share_24["axis 1"] == 1.0
    assert is_24(found) is False
    sentence = backends(found)[1].why
    assert sentence.endswith("of its groups of four have at most two nonzeros")
    assert not sentence.startswith("100")
    two = facts(pruned(64, 2, sparsity=0.3), LINEAR)
    assert "two numbers at most" in backends(two)[1].why


def test_what_was_not_counted_is_unknown() -> None:
    """`count` was not told of the axis that is summed over."""
    found = facts(pruned(1, 64, 64), LayerUse("linear", "aten::bmm", 2))
    assert is_24(found) is None
    assert {b.name: b.eligible for b in backends(found)} == {
        "csr": True,
        "2:4": None,
        "cusparselt": False,
        "tensorrt": None,
    }
    assert not any(verdict.code == "wrong-axis" for verdict in findings(found, (), ()))


def test_convolutions_have_24_where_they_are_products() -> None:
    weight = two_of_four(8, 8, 1, 1, axis=1)
    assert able(weight, POINTWISE)["2:4"].eligible is True
    spatial = able(two_of_four(8, 8, 3, 3, axis=1), CONV)
    assert spatial["2:4"].eligible is False
    assert "1 x 1" in spatial["2:4"].why
    assert (spatial["csr"].eligible, spatial["tensorrt"].eligible) == (True, True)


@pytest.mark.parametrize(
    ("shape", "dtype", "eligible"),
    [
        ((16, 32), np.float16, True),
        ((16, 24), np.float16, False),
        ((24, 16), ml_dtypes.bfloat16, False),
        ((32, 64), np.int8, True),
        ((16, 32), np.int8, False),
        ((32, 32), ml_dtypes.float8_e4m3fn, True),
        ((32, 32), ml_dtypes.float8_e5m2, False),
        ((32, 32), np.float32, False),
        ((32, 32), np.float64, False),
    ],
)
def test_cusparselt_wants_multiples(shape: tuple[int, int], dtype: type, eligible: bool) -> None:
    """As `sparsecore.cuda.cusparselt.compress` documents it."""
    found = able(two_of_four(*shape, dtype=dtype), LINEAR)["cusparselt"]
    assert found.eligible is eligible
    assert (found.why == "") is eligible


def test_what_has_no_kernel_says_why() -> None:
    for use, word in (
        (LayerUse("batched", "aten::bmm", 1), "matrices in one product"),
        (LayerUse("convolution", "aten::convolution", 0, 1, (3, 3), True), "transposed"),
        (LayerUse("convolution", "aten::convolution", 1, 1, (3,)), "of 1 axes"),
    ):
        found = able(two_of_four(4, 4, 4), use)
        assert found["csr"].eligible is False
        assert word in found["csr"].why
    assert "one axis" in able(np.zeros(4), None)["csr"].why


def test_chance_is_that_of_zeros_anywhere() -> None:
    """For weights of one group against all places of its zeros; large patterns are no chance."""
    rng = np.random.default_rng(0)
    drawn = [(rng.random((10, 64)) < 0.1).astype(np.float32) for _ in range(50)]
    assert any(count(weight).share_24["axis 0"] == 1.0 for weight in drawn)
    assert is_24_by_chance(facts(drawn[0], LINEAR))
    assert not is_24_by_chance(facts(two_of_four(64, 64), LINEAR))
    assert not is_24_by_chance(facts(two_of_four(1024, 1024) * (rng.random(1024) < 0.2), LINEAR))
