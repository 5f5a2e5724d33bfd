"""The kernels that a plan on a device can have besides rows: bitmaps, and tensor cores for fp32."""

import numpy as np
import pytest

import cases
import device_cases
import oracle
import sparsecore as sc
from device_cases import back, tensor
from oracle import BF16, F16, F32, F64

torch = pytest.importorskip("torch", reason="torch is not installed")

pytestmark = [pytest.mark.gpu, pytest.mark.small]

# What an operand may be off by when it is rounded to tf32, and the sum of two such to fp32.
TF32 = {"tf32": 2.0**-11, "3xtf32": 2.0**-22}


def compare(plan, operand, X, dtype, gpu, **epilogue):
    given = {name: tensor(value, gpu) for name, value in epilogue.items()}
    Y = sc.csr_matmul(plan, tensor(X, gpu), **given)
    want = oracle.product(operand.W, operand.stored, X, dtype, epilogue.get("scale"))
    oracle.check(back(Y), want, f"{plan.kernel}, {X.shape}")
    return Y


# ---- bitmaps ----


@pytest.mark.parametrize("dtype", [F16, BF16], ids=str)
@pytest.mark.parametrize("shape", [(1, 1), (16, 64), (37, 150), (5, 700)], ids=str)
def test_a_bitmap_multiplies_any_number_of_columns(shape, dtype, gpu):
    rng = np.random.default_rng(1)
    operand = device_cases.random_operand(rng, shape, 0.4, dtype, gpu)
    plan = operand.matrix.prepare(kernel="bitmap")
    for n in (0, 1, 8, 9, 24, 33):
        X = cases.numbers(rng, (shape[1], n), dtype)
        compare(plan, operand, X, dtype, gpu)
        compare(plan, operand, np.asfortranarray(X), dtype, gpu)
    compare(plan, operand, cases.numbers(rng, shape[1:], dtype), dtype, gpu)


@pytest.mark.parametrize("dtype", [F16, BF16], ids=str)
def test_a_bitmap_skips_what_is_not_stored(dtype, gpu):
    """An item of X that is not finite reaches the rows that store its column, and no others."""
    rng = np.random.default_rng(2)
    operand = device_cases.random_operand(rng, (20, 200), 0.3, dtype, gpu)
    plan = operand.matrix.prepare(kernel="bitmap")
    for value in (np.nan, np.inf):
        X = cases.numbers(rng, (200, 3), dtype)
        X[70] = value
        Y = back(sc.csr_matmul(plan, tensor(X, gpu))).astype(np.float64)
        hit = operand.stored[:, 70]
        assert 0 < hit.sum() < len(hit)
        assert np.isfinite(Y[~hit]).all()
        assert not np.isfinite(Y[hit]).any()


def test_a_bitmap_is_what_few_columns_of_16_bits_get(gpu):
    rng = np.random.default_rng(3)
    A = device_cases.random_operand(rng, (64, 128), 0.5, BF16, gpu).matrix
    sparse = device_cases.random_operand(rng, (64, 128), 0.03, BF16, gpu).matrix
    wide = device_cases.random_operand(rng, (64, 128), 0.5, F32, gpu).matrix
    found = [plan.kernel for plan in (A.prepare(n=32), A.prepare(n=33), A.prepare())]
    assert found == ["bitmap", "rows", "rows"]
    assert (sparse.prepare(n=1).kernel, wide.prepare(n=1).kernel) == ("rows", "rows")
    # 4 x 2 blocks of 128 bytes of masks, 8 of offset and 16 for padding; 2 bytes a value.
    assert A.prepare(n=1).nbytes == 8 * 152 + 8 + 2 * A.nnz


@pytest.mark.parametrize("backward", [False, True])
def test_a_bitmap_is_updated_unpacked_and_turned(backward, gpu):
    rng = np.random.default_rng(4)
    operand = device_cases.random_operand(rng, (20, 70), 0.5, F16, gpu)
    A = operand.matrix
    plan = A.prepare(kernel="bitmap", backward=backward)
    X, Z, wide = (tensor(cases.numbers(rng, s, F16), gpu) for s in ((70, 4), (20, 5), (70, 4)))
    assert torch.equal(plan.unpack(), A.data)
    other = A.with_data(A.data * 2)
    plan.update(other.data)
    assert torch.equal(plan.unpack(), other.data)
    for got, want in (
        (plan @ X, other @ X),
        (Z.t() @ plan, Z.t() @ other),
        (plan @ wide.float(), other @ wide.float()),
        (sc.csr_sddmm(plan, Z[:, :4], X), sc.csr_sddmm(other, Z[:, :4], X)),
    ):
        assert got.dtype == want.dtype
        assert torch.allclose(got.float(), want.float(), rtol=2e-3, atol=1e-2)


def test_a_bitmap_applies_what_follows(gpu):
    rng = np.random.default_rng(5)
    operand = device_cases.random_operand(rng, (20, 70), 0.5, F16, gpu)
    x = tensor(cases.numbers(rng, (2, 3, 70), F16), gpu)
    given = {
        "bias": tensor(cases.numbers(rng, (20,), F16), gpu),
        "residual": tensor(cases.numbers(rng, (2, 3, 20), F16), gpu),
    }
    got = sc.linear(x, operand.matrix.prepare(kernel="bitmap"), activation="relu", **given)
    exact = back(x).astype(np.float64) @ operand.W.T + back(given["bias"]) + back(given["residual"])
    magnitude = np.abs(back(x).astype(np.float64)) @ np.abs(operand.W.T) + 2
    assert (np.abs(back(got) - np.maximum(exact, 0)) <= 2.0**-10 * magnitude).all()


def test_empty_matrices_have_bitmaps(gpu):
    for shape in ((0, 5), (5, 0), (3, 70)):
        A = sc.CSR.from_dense(torch.zeros(shape, dtype=torch.float16, device=gpu))
        plan = A.prepare(kernel="bitmap")
        assert plan.unpack().numel() == 0
        Y = plan @ torch.ones(shape[1], 2, dtype=torch.float16, device=gpu)
        assert Y.shape == (shape[0], 2)
        assert not back(Y).any()


def test_kernels_refuse_other_dtypes(gpu):
    rng = np.random.default_rng(6)
    for kernel, dtype in (("bitmap", F32), ("tf32", F16), ("3xtf32", F64)):
        A = device_cases.random_operand(rng, (4, 4), 0.5, dtype, gpu).matrix
        with pytest.raises(TypeError, match=f"prepare: A is {dtype}, expected float.* {kernel!r}"):
            A.prepare(kernel=kernel)


# ---- tensor cores ----


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


@pytest.mark.parametrize("kernel", ["bitmap", *TF32])
def test_the_same_call_gives_the_same_bits(kernel, gpu):
    rng = np.random.default_rng(9)
    dtype = BF16 if kernel == "bitmap" else F32
    operand = device_cases.random_operand(rng, (20, 130), 0.5, dtype, gpu)
    plan = operand.matrix.prepare(kernel=kernel)
    X = tensor(cases.numbers(rng, (130, 12), dtype), gpu)
    assert torch.equal(plan @ X, plan @ X)
