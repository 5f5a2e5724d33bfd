"""Products of few columns by equal shares of work, against float64 on the host."""

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

SHARE = 896  # entries and ends of rows that a block takes (csrc/cuda/merge_rows.cu)


def multiplied(operand, X, mix, rng, gpu):
    """Multiply a layout of X that is on the device by shares, and compare."""
    scale = cases.factors(rng, len(operand.W), F32) if mix.scaled else None
    dtype = oracle.result_dtype(mix.values, mix.x)
    P = operand.matrix.prepare(kernel="merge")
    moved = None if scale is None else tensor(scale, gpu)
    Y = sc.csr_matmul(P, X, scale=moved)
    want = oracle.product(operand.W, operand.stored, back(X), dtype, scale)
    oracle.check(back(Y), want, f"{mix}, {tuple(X.shape)}, strides {X.stride()}")
    return Y


def with_rows(rng, lengths, columns, dtype):
    """Return a dense matrix whose rows have so many entries."""
    dense = np.zeros((len(lengths), columns), dtype)
    for row, length in enumerate(lengths):
        dense[row, rng.permutation(columns)[:length]] = cases.numbers(rng, length, dtype)
    return dense


@pytest.mark.parametrize("mix", MIXES, ids=str)
def test_every_mix_of_dtypes_and_memory_order(mix, gpu):
    rng = np.random.default_rng(1)
    operand = device_cases.random_operand(rng, (13, 40), 0.3, mix.values, gpu)
    for n in (0, 1, 5):
        X = tensor(cases.numbers(rng, (40, n), mix.x), gpu)
        multiplied(operand, X, mix, rng, gpu)
        Y = multiplied(operand, X.t().contiguous().t(), mix, rng, gpu)
        assert n < 2 or Y.stride(0) == 1, "a column-major X gives a column-major result"


def test_every_number_of_columns(gpu):
    rng = np.random.default_rng(2)
    operand = device_cases.random_operand(rng, (9, 24), 0.4, F32, gpu)
    wide = tensor(cases.numbers(rng, (48, 30), F32), gpu)
    for n in range(1, 10):  # nine go by rows
        X = wide[:24, :n].contiguous()
        multiplied(operand, X, cases.Mix(F32, F32), rng, gpu)
        multiplied(operand, wide[::2, : 3 * n : 3], cases.Mix(F32, F32), rng, gpu)
        multiplied(operand, wide[:24, :1].expand(24, n), cases.Mix(F32, F32), rng, gpu)


PATTERNS = {
    "one row of several shares": [3 * SHARE],
    "it begins a share": [SHARE - 1, 2 * SHARE - 1, 5],  # which its end ends, too
    "among short ones": [2, 0, 5, 2 * SHARE + 7, 1, 0, 3],
    "two in a row": [7, SHARE + 1, SHARE + 200, 7],
    "rows of nothing at both ends": [0] * SHARE + [3, 9] + [0] * (2 * SHARE),
    "rows of nothing only": [0] * (SHARE + 5),
    "one entry a row": [1] * (SHARE + 60),
    "of a thread's steps": [6] * 140,
    "as many as fill warps": [224, 223, 222, 225, 1, 447, 30],
}


@pytest.mark.parametrize("lengths", PATTERNS.values(), ids=PATTERNS)
def test_rows_of_every_length_across_threads_warps_and_shares(lengths, gpu):
    rng = np.random.default_rng(3)
    dense = with_rows(rng, lengths, max(*lengths, 40), F64)
    operand = device_cases.operand(dense, gpu)
    for n in (1, 6):
        X = tensor(cases.numbers(rng, (dense.shape[1], n), F64), gpu)
        multiplied(operand, X, cases.Mix(F64, F64), rng, gpu)


@pytest.mark.parametrize("dtype", [F16, BF16, I8], ids=str)
def test_narrow_numbers_in_long_rows(dtype, gpu):
    rng = np.random.default_rng(4)
    operand = device_cases.operand(with_rows(rng, [4, 2000, 0, 1], 2000, dtype), gpu)
    X = tensor(cases.numbers(rng, (2000, 3), dtype), gpu)
    multiplied(operand, X, cases.Mix(dtype, dtype), rng, gpu)


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0), (1, 1), (3, 4)], ids=str)
def test_matrices_without_rows_columns_or_entries(shape, gpu):
    P = device_cases.operand(np.zeros(shape, np.float32), gpu).matrix.prepare(kernel="merge")
    for n in (0, 1, 8):
        Y = P @ torch.ones(shape[1], n, device=gpu)
        assert Y.shape == (shape[0], n)
        assert not back(Y).any()


def test_columns_that_take_32_bits(gpu):
    """Of an X whose rows all lie at one place, so that nothing of that size is in memory."""
    columns = [0, 1, 2**31, 2**32 - 1]
    A = sc.CSR((torch.arange(1.0, 9, device=gpu), columns * 2, [0, 4, 4, 8]), (3, 2**32))
    X = torch.tensor([[1.0, 10, 100]], device=gpu).expand(2**32, 3)
    got = back(A.prepare(kernel="merge") @ X)
    assert got.tolist() == [[10, 100, 1000], [0, 0, 0], [26, 260, 2600]]


def test_what_follows_a_product_reaches_rows_of_one_share_and_of_several(gpu):
    rng = np.random.default_rng(5)
    lengths = [3, 0, 2 * SHARE, 4, 0]
    dense = with_rows(rng, lengths, 2 * SHARE, F32)
    A = device_cases.operand(dense, gpu).matrix
    x, residual = (tensor(cases.numbers(rng, (2, n), F32), gpu) for n in (2 * SHARE, 5))
    scale, bias = (tensor(cases.numbers(rng, 5, F32), gpu) for _ in range(2))
    given = {"bias": bias, "scale": scale, "residual": residual, "activation": "relu"}
    got = back(sc.linear(x, A.prepare(kernel="merge"), **given))
    want = back(x).astype(np.float64) @ dense.T.astype(np.float64) * back(scale)
    want = np.maximum(want + back(bias) + back(residual), 0)
    size = np.abs(back(x)).astype(np.float64) @ np.abs(dense.T).astype(np.float64)
    slack = (max(lengths) + 4) * 2.0**-24 * (size * np.abs(back(scale)) + np.abs(want) + 20)
    assert (np.abs(got - want) <= slack).all()


def test_what_x_holds_where_nothing_is_stored_does_not_matter(gpu):
    row = np.array([[3.0, 0, 4, 0, 2, 0, 1]])
    P = device_cases.operand(row, gpu).matrix.prepare(kernel="merge")
    column = torch.tensor([2.0, np.nan, 5, np.inf, 4, -np.inf, 3], dtype=torch.float64)
    for n in (1, 3):
        Y = back(P @ column[:, None].expand(7, n).contiguous().to(gpu))
        assert (Y == 37.0).all(), Y
    rows = device_cases.operand(np.eye(40), gpu).matrix.prepare(kernel="merge")
    X = torch.ones(40, 2, dtype=torch.float64)
    X[17] = np.nan
    assert np.isnan(back(rows @ X.to(gpu))).any(axis=1).nonzero()[0].tolist() == [17]


def test_the_same_call_gives_the_same_bits(gpu):
    rng = np.random.default_rng(6)
    A = device_cases.operand(with_rows(rng, [2000, 3, 900, 0, 60], 2000, F32), gpu).matrix
    P = A.prepare(kernel="merge", backward=True)
    X, V = (tensor(cases.numbers(rng, (rows, 5), F32), gpu) for rows in (2000, 5))
    for call in (lambda: P @ X, lambda: V.t() @ P):
        assert (oracle.bits(back(call())) == oracle.bits(back(call()))).all()
    W = back(A.toarray()).astype(np.float64)
    want = oracle.product(W.T, W.T != 0, back(V), F32)
    oracle.check(back(V.t() @ P).T, want, "V.T @ P")


@pytest.mark.parametrize("dtype", [F64, F32, BF16, I8], ids=str)
def test_a_plan_for_few_columns_takes_shares_of_short_rows(dtype, gpu):
    short, long = (np.ones(shape, dtype) for shape in ((64, 20), (20, 512)))
    if dtype == BF16:  # at this density, and a higher one, there are better plans
        short = np.pad(np.ones((64, 4), dtype), ((0, 0), (0, 60000)))
    A, B = (device_cases.operand(dense, gpu).matrix for dense in (short, long))
    assert [A.prepare(n=n).kernel for n in (1, 8)] == ["merge"] * 2
    assert [A.prepare(n=n).kernel for n in (None, 0, 9)] == ["rows"] * 3
    assert B.prepare(n=1).kernel == ("bitmap" if dtype == BF16 else "rows")
    x = tensor(np.ones((short.shape[1], 1), dtype), gpu)
    assert (back(A.prepare(n=1) @ x).astype(int) == short.astype(int).sum(1, keepdims=True)).all()


def test_out_is_written_in_place_in_every_memory_order(gpu):
    rng = np.random.default_rng(7)
    operand = device_cases.random_operand(rng, (11, 30), 0.4, F32, gpu)
    X = tensor(cases.numbers(rng, (30, 4), F32), gpu)
    want = oracle.product(operand.W, operand.stored, back(X), F32)
    P = operand.matrix.prepare(kernel="merge")
    beside = torch.full((22, 12), 77.0, device=gpu)
    for out in (
        torch.empty(11, 4, device=gpu),
        torch.empty(4, 11, device=gpu).t(),
        beside[::2, ::3],
    ):
        assert sc.csr_matmul(P, X, out=out) is out
        oracle.check(back(out), want, out.stride())
        out.fill_(77)
        assert (back(beside) == 77).all(), "something beside `out` was written"
