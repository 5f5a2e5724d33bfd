"""ConvPlan: a snapshot of the weights for many images."""

import copy
import pickle

import numpy as np
import pytest

import cases
import conv_cases
import oracle
import sparsecore as sc
from conv_cases import Geometry
from oracle import DTYPES, F16, F32, F64, I8

GROUPED = Geometry((3, 2), (2, 1), (1, 0), (1, 2), groups=2)


def plan_of(dtype=F32, g=GROUPED, seed=110):
    """Return a plan, and the CSR that it is of."""
    W = conv_cases.weights(np.random.default_rng(seed), 6, 4, g, 0.5, dtype)
    A = sc.CSR.from_dense(W)
    return sc.ConvPlan(A, **g.arguments()), A


def test_it_says_what_it_is():
    plan, A = plan_of(F16)
    assert (plan.shape, plan.nnz, plan.dtype) == ((6, 12), A.nnz, np.float16)
    assert plan.nbytes >= A.nnz * (2 + 2)
    assert plan.geometry.kernel_size == (3, 2)
    assert plan.geometry.groups == 2
    for part in ("ConvPlan", "6x12", "kernel 3x2", f"nnz={A.nnz}", "float16"):
        assert part in repr(plan)


def test_one_number_stands_for_both_axes():
    A = sc.CSR.from_dense(np.ones((2, 9), F32))
    x = np.ones((1, 1, 9, 9), F32)
    want = sc.conv2d(
        x, A, kernel_size=(3, 3), stride=(2, 2), padding=[1, 1], dilation=(2, 2), groups=1
    )
    got = sc.conv2d(
        x, A, kernel_size=3, stride=np.int64(2), padding=1, dilation=(2, np.int8(2)), groups=1
    )
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_snapshot_update_unpack(dtype):
    _, A = plan_of(dtype)
    values = A.data
    data = values.copy()
    plan = sc.ConvPlan(A.with_data(data), **GROUPED.arguments())
    rng = np.random.default_rng(111)
    x = cases.numbers(rng, (2, 4, 7, 8), dtype)
    before = sc.conv2d(x, plan)
    data[:] = 1  # the caller's array is A's, not the plan's
    np.testing.assert_array_equal(sc.conv2d(x, plan), before)
    np.testing.assert_array_equal(plan.unpack(), values)
    kept = plan.tocsr()
    np.testing.assert_array_equal(kept.toarray(), A.toarray())
    new = cases.numbers(rng, A.nnz, dtype)
    plan.update(new)
    np.testing.assert_array_equal(plan.unpack(), new)
    want = conv_cases.convolved(
        A.with_data(new).toarray(), x, GROUPED, oracle.result_dtype(dtype, dtype)
    )
    oracle.check(sc.conv2d(x, plan), want, dtype)
    np.testing.assert_array_equal(kept.data, values)


def test_update_refuses_what_does_not_fit():
    plan, A = plan_of()
    for bad, error, message in (
        (
            A.data[:-1],
            ValueError,
            rf"update: data has shape \({A.nnz - 1},\), expected \({A.nnz},\)",
        ),
        (A.data[None], ValueError, "update: data has shape"),
        (A.data.astype(F64), TypeError, "data is float64, the plan was prepared with float32"),
        (A.data.astype(int), TypeError, "data has dtype int64"),
        ("x", (TypeError, ValueError), "data"),
        (None, TypeError, "data"),
    ):
        with pytest.raises(error, match=message):
            plan.update(bad)
    np.testing.assert_array_equal(plan.unpack(), A.data)


@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, lambda plan: pickle.loads(pickle.dumps(plan))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_copies_are_independent(duplicate):
    plan, A = plan_of()
    x = cases.numbers(np.random.default_rng(112), (2, 4, 7, 8), F32)
    before = sc.conv2d(x, plan)
    twin = duplicate(plan)
    assert twin.geometry == plan.geometry
    np.testing.assert_array_equal(sc.conv2d(x, twin), before)
    twin.update(A.data * 2)
    np.testing.assert_array_equal(sc.conv2d(x, plan), before)
    np.testing.assert_array_equal(sc.conv2d(x, twin), 2 * before)


def test_a_plan_runs_on_every_target():
    plan, A = plan_of()
    x = cases.numbers(np.random.default_rng(113), (3, 4, 9, 20), F32)
    want = conv_cases.convolved(A.toarray(), x, GROUPED, F32)
    before = sc.cpu.target()
    try:
        for target in sc.cpu.targets():
            sc.cpu.set_target(target)
            oracle.check(sc.conv2d(x, plan), want, target)
    finally:
        sc.cpu.set_target(before)


def test_values_of_one_dtype_meet_images_of_others():
    for values, others in ((F16, (F16, F32)), (I8, (I8,)), (F32, (F32,))):
        plan, _ = plan_of(values)
        for dtype in DTYPES:
            x = np.ones((1, 4, 7, 8), dtype)
            if dtype in others:
                assert sc.conv2d(x, plan).dtype == oracle.result_dtype(values, dtype)
                continue
            with pytest.raises(TypeError, match=f"^conv2d: A is {values}, .* is {dtype}"):
                sc.conv2d(x, plan)
    plan, _ = plan_of(I8)
    for dtype in (F64, F32, F16):
        x = np.ones((1, 4, 7, 8), dtype)
        assert sc.conv2d(x, plan, scale=np.ones(6, F32)).dtype == dtype


def test_a_plan_of_tensors():
    torch = pytest.importorskip("torch")
    A = sc.CSR.from_dense(torch.eye(4, 36).bfloat16())
    plan = sc.ConvPlan(A, kernel_size=3)
    assert plan.dtype == torch.bfloat16
    assert torch.equal(plan.unpack(), A.data)
    assert torch.equal(pickle.loads(pickle.dumps(plan)).unpack(), A.data)
    x = torch.ones(1, 4, 5, 6)
    assert sc.conv2d(x, plan).shape == (1, 4, 3, 4)
    plan.update(A.data * 2)
    assert torch.equal(plan.unpack(), A.data * 2)
