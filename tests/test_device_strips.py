"""Plans of 16-bit matrices for few columns: values in the order in which tensor cores take them."""

import numpy as np
import pytest

import cases
import device_cases
import oracle
import sparsecore as sc
from device_cases import back, tensor
from oracle import BF16, F16, F32
from sparsecore.cuda.plan import expected_bytes

torch = pytest.importorskip("torch", reason="torch is not installed")

pytestmark = [pytest.mark.gpu, pytest.mark.small]

KERNELS = ("bitmap", "delta4", "delta8")


def compare(plan, operand, X, dtype, gpu):
    Y = sc.csr_matmul(plan, tensor(X, gpu))
    want = oracle.product(operand.W, operand.stored, X, dtype, None)
    oracle.check(back(Y), want, f"{plan.kernel}, {X.shape}")


@pytest.mark.parametrize("dtype", [F16, BF16], ids=str)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", [(1, 1), (16, 64), (37, 150), (5, 700)], ids=str)
def test_they_multiply_any_number_of_columns(shape, kernel, dtype, gpu):
    rng = np.random.default_rng(1)
    operand = device_cases.random_operand(rng, shape, 0.4, dtype, gpu)
    plan = operand.matrix.prepare(kernel=kernel)
    for n in (0, 1, 8, 9, 24, 33):
        X = cases.numbers(rng, (shape[1], n), dtype)
        compare(plan, operand, X, dtype, gpu)
        compare(plan, operand, np.asfortranarray(X), dtype, gpu)
    compare(plan, operand, cases.numbers(rng, shape[1:], dtype), dtype, gpu)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("density", [0.0005, 0.004, 0.02, 0.08, 0.2, 1.0])
def test_they_hold_any_density(density, kernel, gpu):
    """Steps longer than a delta can say, blocks of nothing, of more slots than lanes."""
    rng = np.random.default_rng(2)
    operand = device_cases.random_operand(rng, (20, 2500), density, BF16, gpu)
    plan = operand.matrix.prepare(kernel=kernel)
    assert torch.equal(plan.unpack(), operand.matrix.data)
    compare(plan, operand, cases.numbers(rng, (2500, 5), BF16), BF16, gpu)


@pytest.mark.parametrize("kernel", KERNELS)
def test_an_entry_may_be_anywhere(kernel, gpu):
    """One entry, at each place of a strip of 16 x 256 in turn, and one more at the end."""
    X = tensor(np.arange(1, 257, dtype=F16).reshape(256, 1), gpu)
    for place in range(0, 16 * 256, 91):
        row, column = place % 16, place // 16
        dense = np.zeros((16, 256), F16)
        dense[row, column] = dense[15, 255] = 0.5
        Y = back(device_cases.operand(dense, gpu).matrix.prepare(kernel=kernel) @ X)
        assert Y[:, 0].tolist() == (dense.astype(np.float64) @ np.arange(1, 257)).tolist()


@pytest.mark.parametrize("dtype", [F16, BF16], ids=str)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_they_skip_what_is_not_stored(value, kernel, dtype, gpu):
    """An item of X that is not finite reaches the rows that store its column, and no others."""
    rng = np.random.default_rng(3)
    dense = cases.random_dense(rng, (20, 200), 0.1, dtype)
    dense[3, 70], dense[4, 70] = 1, 0
    operand = device_cases.operand(dense, gpu)
    X = cases.numbers(rng, (200, 3), dtype)
    X[70] = value
    Y = back(operand.matrix.prepare(kernel=kernel) @ tensor(X, gpu)).astype(np.float64)
    hit = operand.stored[:, 70]
    want = operand.W[~hit] @ np.where(np.isfinite(X), X, 0).astype(np.float64)
    assert not np.isfinite(Y[hit]).any()
    assert np.allclose(Y[~hit], want, rtol=0.01, atol=0.1)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_stored_zero_is_multiplied(kernel, gpu):
    A = sc.CSR((np.zeros(2, F16), [3, 140], [0, 1, 2]), (2, 150)).to(gpu)
    X = np.zeros((150, 1), F16)
    X[140] = np.nan
    Y = back(A.prepare(kernel=kernel) @ tensor(X, gpu))
    assert Y[0, 0] == 0
    assert np.isnan(Y[1, 0])


def test_few_columns_of_16_bits_get_what_has_the_fewest_bytes(gpu):
    rng = np.random.default_rng(4)

    def chosen(density, n, dtype=BF16):
        A = device_cases.random_operand(rng, (64, 1000), density, dtype, gpu).matrix
        return A.prepare(n=n).kernel

    found = [chosen(density, 32) for density in (0.5, 0.3, 0.17, 0.12, 0.09, 0.04, 0.002)]
    assert found == ["bitmap", "bitmap", *["delta4"] * 2, *["delta8"] * 2, "rows"]
    assert [chosen(0.5, n) for n in (33, None)] == ["rows", "rows"]
    assert chosen(0.5, 1, F32) == "rows"


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("density", [0.06, 0.3])
def test_a_plan_has_the_bytes_that_it_was_chosen_for(density, kernel, gpu):
    rng = np.random.default_rng(5)
    A = device_cases.random_operand(rng, (256, 1024), density, BF16, gpu).matrix
    expected = expected_bytes(A.shape, A.nnz)[kernel]
    # A bitmap has room for whole chunks, however values fall into them: half a chunk a block more.
    room = 9 * 16 * 16 if kernel == "bitmap" else 0
    assert A.prepare(kernel=kernel).nbytes == pytest.approx(expected + room, rel=0.01)


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("kernel", KERNELS)
def test_they_are_updated_unpacked_and_turned(kernel, backward, gpu):
    rng = np.random.default_rng(6)
    operand = device_cases.random_operand(rng, (20, 70), 0.3, F16, gpu)
    A = operand.matrix
    plan = A.prepare(kernel=kernel, backward=backward)
    X, Z, wide = (tensor(cases.numbers(rng, s, F16), gpu) for s in ((70, 4), (20, 5), (70, 4)))
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


@pytest.mark.parametrize("kernel", KERNELS)
def test_they_apply_what_follows(kernel, gpu):
    rng = np.random.default_rng(7)
    operand = device_cases.random_operand(rng, (20, 70), 0.5, F16, gpu)
    x = tensor(cases.numbers(rng, (2, 3, 70), F16), gpu)
    given = {
        "bias": tensor(cases.numbers(rng, (20,), F16), gpu),
        "residual": tensor(cases.numbers(rng, (2, 3, 20), F16), gpu),
    }
    got = sc.linear(x, operand.matrix.prepare(kernel=kernel), activation="relu", **given)
    exact = back(x).astype(np.float64) @ operand.W.T + back(given["bias"]) + back(given["residual"])
    magnitude = np.abs(back(x).astype(np.float64)) @ np.abs(operand.W.T) + 2
    assert (np.abs(back(got) - np.maximum(exact, 0)) <= 2.0**-10 * magnitude).all()


@pytest.mark.parametrize("kernel", KERNELS)
def test_empty_matrices_have_them(kernel, gpu):
    for shape in ((0, 5), (5, 0), (3, 70)):
        A = sc.CSR.from_dense(torch.zeros(shape, dtype=torch.float16, device=gpu))
        plan = A.prepare(kernel=kernel)
        assert plan.unpack().numel() == 0
        Y = plan @ torch.ones(shape[1], 2, dtype=torch.float16, device=gpu)
        assert Y.shape == (shape[0], 2)
        assert not back(Y).any()


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_same_call_gives_the_same_bits(kernel, gpu):
    rng = np.random.default_rng(8)
    plan = device_cases.random_operand(rng, (20, 130), 0.5, BF16, gpu).matrix.prepare(kernel=kernel)
    X = tensor(cases.numbers(rng, (130, 12), BF16), gpu)
    assert torch.equal(plan @ X, plan @ X)


@pytest.mark.parametrize("kernel", KERNELS)
def test_other_dtypes_are_refused(kernel, gpu):
    A = device_cases.operand(np.eye(4, dtype=F32), gpu).matrix
    with pytest.raises(TypeError, match=f"prepare: A is float32, expected float16.* {kernel!r}"):
        A.prepare(kernel=kernel)
