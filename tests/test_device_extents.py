"""Products of extreme shapes on a device: grids past one axis, rows of an entry or two, 1 x N."""

import numpy as np
import pytest

import cases
import device_cases
import oracle
import sparsecore as sc
from device_cases import back, tensor
from oracle import BF16, DTYPES, F32, I8
from sparsecore.cuda import current

torch = pytest.importorskip("torch", reason="torch is not installed")

pytestmark = [pytest.mark.gpu, pytest.mark.small]

# The emulation's grids are three blocks long on their second axis (grid_limits.h), a device's
# 65,535: so many columns are more than three tiles of 32, 64 or 128, and no multiple of three.
MANY = 451


def check(operand, X, dtype, plan=None, case=""):
    left = operand.matrix if plan is None else plan
    Y = sc.csr_matmul(left, X)
    want = oracle.product(operand.W, operand.stored, back(X), dtype)
    oracle.check(back(Y), want, f"{case} {tuple(X.shape)}, strides {X.stride()}")


@pytest.mark.parametrize("dtype", [F32, BF16], ids=str)
def test_more_columns_than_one_axis_of_a_grid_takes(dtype, gpu):
    rng = np.random.default_rng(1)
    operand = device_cases.random_operand(rng, (2, 3), 0.9, dtype, gpu)
    X = tensor(cases.numbers(rng, (3, MANY), dtype), gpu)
    result = np.dtype(dtype)
    check(operand, X, result, case="row-major")
    check(operand, X.t().contiguous().t(), result, case="column-major")
    check(operand, X[:, : MANY // 4 * 4].clone(), result, case="aligned")
    if dtype == F32:
        plan = operand.matrix.prepare(kernel="3xtf32")
        Y = back(sc.csr_matmul(plan, X)).astype(np.float64)
        magnitude = np.abs(operand.W) @ np.abs(back(X).astype(np.float64))
        assert (np.abs(Y - operand.W @ back(X)) <= 2.0**-19 * magnitude).all()
    W = X.t().contiguous().t()
    assert (back(sc.CSR.from_dense(W).toarray()) == back(W)).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("each", [0, 1, 2, 3])
def test_rows_of_a_few_entries(each, dtype, gpu):
    rng = np.random.default_rng(2)
    dense = np.zeros((45, 20), dtype)
    for row in range(1, 45, 2) if each == 1 else range(45):
        dense[row, rng.permutation(20)[:each]] = cases.numbers(rng, each, dtype)
    operand = device_cases.operand(dense, gpu)
    result = oracle.result_dtype(dtype, dtype)
    for n in (1, 2, 4, 5, 8, 9):
        X = tensor(cases.numbers(rng, (20, n), dtype), gpu)
        check(operand, X, result)
        U = tensor(cases.numbers(rng, (45, n), dtype), gpu)
        d = sc.csr_sddmm(operand.matrix, U, X)
        oracle.check(back(d), oracle.sampled(*np.nonzero(dense), back(U), back(X)), f"sddmm {n}")


def test_skewed_single_and_empty_shapes(gpu):
    rng = np.random.default_rng(3)
    skewed = np.zeros((6, 700), F32)
    skewed[4] = cases.numbers(rng, 700, F32)
    ones = [np.ones(shape, F32) for shape in ((1, 300), (300, 1), (1, 1))]
    nothing = [np.zeros(shape, F32) for shape in ((0, 5), (5, 0), (0, 0), (3, 4))]
    for dense in (skewed, *ones, *nothing):
        operand = device_cases.operand(dense, gpu)
        for n in (0, 1, 9):
            X = tensor(cases.numbers(rng, (dense.shape[1], n), F32), gpu)
            Z = tensor(cases.numbers(rng, (n, dense.shape[0]), F32), gpu)
            check(operand, X, F32)
            got, want = back(Z @ operand.matrix), back(Z).astype(np.float64) @ operand.W
            assert got.shape == want.shape
            assert np.allclose(got, want, rtol=1e-4, atol=1e-4)
            kernels = ("rows", "merge", "tf32") if dense.size < 1000 else ()
            for kernel in kernels:
                plan = operand.matrix.prepare(kernel=kernel)
                assert np.allclose(back(plan @ X), operand.W @ back(X), rtol=1e-2, atol=1e-2)


# ---- memory that other streams may read when it is dropped ----


class Recorded:
    """A device whose current stream the test says, and which memory was kept for it."""

    def __init__(self, patch):
        self.stream, self.kept = 0, set()
        for module in ("structure", "plan", "current"):
            patch.setattr(f"sparsecore.cuda.{module}.stream_of", lambda _: self.stream)
        patch.setattr(current, "record", lambda t, _: self.kept.add(t.data_ptr()))

    def of(self, call):
        self.kept = set()
        call()
        return self.kept


@pytest.mark.parametrize(
    ("kernel", "dtype"), [("rows", F32), ("rows", I8), ("bitmap", BF16)], ids=str
)
def test_memory_is_kept_for_the_streams_that_read_it(kernel, dtype, gpu, monkeypatch):
    device = Recorded(monkeypatch)
    A = device_cases.operand(
        device_cases.with_long_rows(np.random.default_rng(4), dtype), gpu
    ).matrix
    X = tensor(cases.numbers(np.random.default_rng(5), (1100, 2), dtype), gpu)
    Z = tensor(cases.numbers(np.random.default_rng(5), (2, 9), dtype), gpu)
    P = A.prepare(n=2, kernel=kernel, backward=True)
    held = {t.data_ptr() for t in A._structure.csr.tensors}
    assert len(held) == 4  # the pieces of long rows are of it
    for call in (lambda: A @ X, lambda: P @ X, lambda: Z @ A, P.unpack, A.toarray):
        assert device.of(call) == set()
    device.stream = 7
    assert device.of(lambda: A @ X) == held
    assert device.of(lambda: sc.csr_sddmm(A, Z.t(), X)) >= held
    turned, order = A._structure._transposed
    assert device.of(lambda: Z @ A) >= {t.data_ptr() for t in turned._csr.tensors}
    assert order.data_ptr() in device.of(lambda: Z @ A)
    plan = P._plan
    values = {plan._values.data_ptr()} if kernel == "rows" else set()
    packed = {t.data_ptr() for t in plan.strips.tensors} if plan.strips else values
    assert device.of(lambda: P @ X) >= packed
    assert plan._transposed.data_ptr() in device.of(lambda: Z @ P)
    assert device.of(lambda: P.update(A.data)) >= packed - values
    assert not device.of(P.unpack) & packed  # those of this stream now
