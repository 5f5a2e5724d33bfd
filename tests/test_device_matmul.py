"""Products of CSR matrices on a device, against float64 on the host."""

import numpy as np
import pytest

import cases
import device_cases
import oracle
import sparsecore as sc
from cases import MIXES
from device_cases import back, tensor
from oracle import BF16, F16, F32, F64, I8

torch = pytest.importorskip("torch", reason="torch is not installed")

pytestmark = pytest.mark.gpu

# Below, at and above what the narrow kernel takes, and the widths of lanes and of vectors.
WIDTHS = (1, 2, 8, 9, 31, 64, 129)


def multiplied(operand, X, mix, rng, gpu):
    """Multiply a layout of X that is on the device, and compare."""
    scale = cases.factors(rng, len(operand.W), F32) if mix.scaled else None
    dtype = oracle.result_dtype(mix.values, mix.x)
    moved = None if scale is None else tensor(scale, gpu)
    Y = sc.csr_matmul(operand.matrix, X, scale=moved)
    want = oracle.product(operand.W, operand.stored, back(X), dtype, scale)
    oracle.check(back(Y), want, f"{mix}, {tuple(X.shape)}, strides {X.stride()}")
    return Y


@pytest.mark.parametrize("mix", MIXES, ids=str)
def test_every_mix_of_dtypes_and_memory_order(mix, gpu):
    rng = np.random.default_rng(1)
    operand = device_cases.random_operand(rng, (13, 40), 0.3, mix.values, gpu)
    for n in (0, 3, 40, 65):
        X = tensor(cases.numbers(rng, (40, n), mix.x), gpu)
        multiplied(operand, X, mix, rng, gpu)
        Y = multiplied(operand, X.t().contiguous().t(), mix, rng, gpu)
        assert n < 2 or Y.stride(0) == 1, "a column-major X gives a column-major result"


@pytest.mark.parametrize("dtype", [F32, BF16], ids=str)
def test_every_width_of_x(dtype, gpu):
    rng = np.random.default_rng(2)
    operand = device_cases.random_operand(rng, (9, 24), 0.4, dtype, gpu)
    for n in WIDTHS:
        mix = cases.Mix(dtype, dtype)
        multiplied(operand, tensor(cases.numbers(rng, (24, n), dtype), gpu), mix, rng, gpu)
        wide = tensor(cases.numbers(rng, (48, 3 * n), dtype), gpu)
        multiplied(operand, wide[::2, ::3], mix, rng, gpu)
        multiplied(operand, wide[1:25, 1 : n + 1], mix, rng, gpu)  # vectors would not be aligned
        multiplied(operand, wide[:24, :1].expand(24, n), mix, rng, gpu)


@pytest.mark.parametrize("dtype", [F64, F16, I8], ids=str)
def test_rows_of_several_pieces_and_rows_of_nothing(dtype, gpu):
    rng = np.random.default_rng(3)
    operand = device_cases.operand(device_cases.with_long_rows(rng, dtype), gpu)
    for n in (1, 5, 20):
        X = tensor(cases.numbers(rng, (1100, n), dtype), gpu)
        multiplied(operand, X, cases.Mix(dtype, dtype), rng, gpu)
    multiplied(operand, X.t().contiguous().t(), cases.Mix(dtype, dtype), rng, gpu)


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0), (1, 1), (3, 4)], ids=str)
def test_matrices_without_rows_columns_or_entries(shape, gpu):
    operand = device_cases.operand(np.zeros(shape, np.float32), gpu)
    for n in (0, 1, 12):
        X = torch.ones(shape[1], n, device=gpu)
        Y = operand.matrix @ X
        assert Y.shape == (shape[0], n)
        assert not back(Y).any()


def test_vectors_and_products_from_the_right(gpu):
    rng = np.random.default_rng(4)
    operand = device_cases.random_operand(rng, (12, 33), 0.3, F32, gpu)
    x, y = (tensor(cases.numbers(rng, n, F32), gpu) for n in (33, 12))
    X = tensor(cases.numbers(rng, (10, 12), F32), gpu)
    of = (operand.W, operand.stored)
    turned = (operand.W.T, operand.stored.T)
    oracle.check(back(operand.matrix @ x), oracle.product(*of, back(x), F32), "A @ x")
    oracle.check(back(y @ operand.matrix), oracle.product(*turned, back(y), F32), "y @ A")
    want = oracle.product(*turned, back(X).T, F32)
    oracle.check(back(X @ operand.matrix).T, want, "X @ A")
    oracle.check(back(operand.matrix.T @ X.t()), want, "A.T @ X")


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
def test_torchs_own_sparse_tensors(gpu):
    rng = np.random.default_rng(8)
    dense = cases.random_dense(rng, (12, 33), 0.3, F32)
    A, X = tensor(dense, gpu).to_sparse_csr(), tensor(cases.numbers(rng, (33, 9), F32), gpu)
    want = oracle.product(dense.astype(np.float64), dense != 0, back(X), F32)
    oracle.check(back(sc.csr_matmul(A, X)), want, "torch.sparse_csr")


@pytest.mark.parametrize("mix", [cases.Mix(F16, F32), cases.Mix(I8, BF16, scaled=True)], ids=str)
def test_transposed_products_take_the_factors_of_their_own_rows(mix, gpu):
    rng = np.random.default_rng(5)
    dense = np.ascontiguousarray(device_cases.with_long_rows(rng, mix.values).T)
    A = device_cases.operand(dense, gpu)
    turned = device_cases.Operand(A.matrix.T, A.W.T, A.stored.T)
    multiplied(turned, tensor(cases.numbers(rng, (1100, 9), mix.x), gpu), mix, rng, gpu)


def test_what_x_holds_where_nothing_is_stored_does_not_matter(gpu):
    """A row (3, 0, 4, 0, 2, 0, 1) times a column takes four multiplications."""
    row = np.array([[3.0, 0, 4, 0, 2, 0, 1]])
    A = device_cases.operand(row, gpu).matrix
    column = torch.tensor([2.0, np.nan, 5, np.inf, 4, -np.inf, 3], dtype=torch.float64)
    for n in (1, 9):
        Y = back(A @ column[:, None].expand(7, n).contiguous().to(gpu))
        assert (Y == 37.0).all(), Y


def test_the_same_call_gives_the_same_bits(gpu):
    rng = np.random.default_rng(6)
    A = device_cases.operand(device_cases.with_long_rows(rng, F32), gpu).matrix
    X, V = (tensor(cases.numbers(rng, (rows, 20), F32), gpu) for rows in (1100, 9))
    for left, right in ((A, X), (A.T, V)):
        first, second = back(left @ right), back(left @ right)
        assert (oracle.bits(first) == oracle.bits(second)).all()


@pytest.mark.parametrize("n", [4, 24, 48])
@pytest.mark.parametrize("dtype", [F32, I8], ids=str)
def test_out_is_written_in_place_in_every_memory_order(dtype, n, gpu):
    rng = np.random.default_rng(7)
    operand = device_cases.random_operand(rng, (11, 30), 0.4, dtype, gpu)
    X = tensor(cases.numbers(rng, (30, n), dtype), gpu)
    want = oracle.product(operand.W, operand.stored, back(X), oracle.result_dtype(dtype, dtype))
    result = operand.matrix @ X
    beside = torch.full((22, 3 * n), 77, dtype=result.dtype, device=gpu)
    for out in (
        torch.empty_like(result),
        torch.empty_like(result.t().contiguous()).t(),
        beside[:11, 4 : n + 4],  # rows that begin at multiples of 16 bytes, not of 64
        beside[::2, ::3],
    ):
        assert sc.csr_matmul(operand.matrix, X, out=out) is out
        oracle.check(back(out), want, out.stride())
        out.fill_(77)
        assert (back(beside) == 77).all(), "something beside `out` was written"
