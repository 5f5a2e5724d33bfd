"""The kernels for fp32 on tensor cores that a plan on a device can have by name."""

import numpy as np
import pytest

import cases
import device_cases
import sparsecore as sc
from device_cases import back, tensor
from oracle import F16, F32, F64

torch = pytest.importorskip("torch", reason="torch is not installed")

pytestmark = [pytest.mark.gpu, pytest.mark.small]

# What an operand may be off by when it is rounded to tf32, and the sum of two such to fp32.
TF32 = {"tf32": 2.0**-11, "3xtf32": 2.0**-22}


def test_other_dtypes_are_refused(gpu):
    rng = np.random.default_rng(6)
    for kernel, dtype in (("tf32", F16), ("3xtf32", F64)):
        A = device_cases.random_operand(rng, (4, 4), 0.5, dtype, gpu).matrix
        with pytest.raises(TypeError, match=f"prepare: A is {dtype}, expected float.* {kernel!r}"):
            A.prepare(kernel=kernel)


@pytest.mark.parametrize("kernel", TF32)
@pytest.mark.parametrize("shape", [(1, 1), (64, 64), (67, 100)], ids=str)
def test_tf32_is_off_by_what_its_operands_are_rounded_by(kernel, shape, gpu):
    rng = np.random.default_rng(7)
    operand = device_cases.random_operand(rng, shape, 0.3, F32, gpu)
    plan = operand.matrix.prepare(kernel=kernel)
    assert plan.kernel == kernel
    for n in (1, 33, 70):
        X = cases.numbers(rng, (shape[1], n), F32)
        exact = operand.W @ X.astype(np.float64)
        magnitude = np.abs(operand.W) @ np.abs(X.astype(np.float64))
        u = TF32[kernel]
        bound = magnitude * (2 * u + u * u + (shape[1] + 2) * 2.0**-24)
        for layout in (X, np.asfortranarray(X)):
            Y = back(sc.csr_matmul(plan, tensor(layout, gpu)))
            assert (np.abs(Y - exact) <= bound).all()


@pytest.mark.parametrize("kernel", TF32)
def test_tf32_takes_what_has_no_such_form_item_by_item(kernel, gpu):
    """Infinities, NaN and what rounds to infinity, in X and among the stored ones."""
    rng = np.random.default_rng(8)
    dense = cases.random_dense(rng, (66, 80), 0.3, F32)
    dense[3, 40], dense[4, 41] = np.inf, np.finfo(F32).max
    operand = device_cases.operand(dense, gpu)
    X = cases.numbers(rng, (80, 65), F32)
    X[5], X[41] = np.nan, 0.5
    Y = back(sc.csr_matmul(operand.matrix.prepare(kernel=kernel), tensor(X, gpu)))
    hit = operand.stored[:, 5]
    assert np.isnan(Y[hit]).all()
    assert np.isfinite(np.delete(Y, [*np.flatnonzero(hit), 3], axis=0)).all()
    if not hit[3]:
        assert np.isinf(Y[3]).all()
    if not hit[4]:
        assert np.allclose(Y[4], np.finfo(F32).max / 2, rtol=1e-6)


@pytest.mark.parametrize("kernel", TF32)
def test_the_same_call_gives_the_same_bits(kernel, gpu):
    rng = np.random.default_rng(9)
    operand = device_cases.random_operand(rng, (20, 130), 0.5, F32, gpu)
    plan = operand.matrix.prepare(kernel=kernel)
    X = tensor(cases.numbers(rng, (130, 12), F32), gpu)
    assert torch.equal(plan @ X, plan @ X)
