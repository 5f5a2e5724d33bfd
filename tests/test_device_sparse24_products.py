"""Products of 2:4 matrices on a device, against float64 on the host."""

import numpy as np
import pytest

import cases
import oracle
import sparsecore as sc
from cases import MIXES, Mix
from device_cases import back, sparse24_operand, tensor
from oracle import BF16, F32, F64, I8

torch = pytest.importorskip("torch", reason="torch is not installed")

pytestmark = [pytest.mark.gpu, pytest.mark.small]


def multiplied(given, X, mix, rng, gpu):
    scale = cases.factors(rng, len(given.W), F32) if mix.scaled else None
    moved = None if scale is None else tensor(scale, gpu)
    Y = sc.sparse24_matmul(given.matrix, X, scale=moved)
    dtype = oracle.result_dtype(mix.values, mix.x)
    want = oracle.product(given.W, given.stored, back(X), dtype, scale)
    oracle.check(back(Y), want, f"{mix}, {tuple(X.shape)}, strides {X.stride()}")
    return Y


@pytest.mark.parametrize("mix", MIXES, ids=str)
def test_every_mix_of_dtypes_and_memory_order(mix, gpu):
    rng = np.random.default_rng(1)
    given = sparse24_operand(rng, (13, 42), mix.values, gpu)
    for n in (0, 1, 3, 40):
        X = tensor(cases.numbers(rng, (42, n), mix.x), gpu)
        multiplied(given, X, mix, rng, gpu)
        Y = multiplied(given, X.t().contiguous().t(), mix, rng, gpu)
        assert n < 2 or Y.stride(0) == 1, "a column-major X gives a column-major result"


@pytest.mark.parametrize("dtype", [F32, BF16], ids=str)
def test_every_width_of_x_and_every_end_of_a_row(dtype, gpu):
    rng = np.random.default_rng(2)
    for k, n in ((1, 1), (2, 9), (3, 5), (4, 33), (5, 8), (30, 65), (31, 2), (33, 129), (64, 4)):
        given = sparse24_operand(rng, (9, k), dtype, gpu)
        wide = tensor(cases.numbers(rng, (2 * k, 3 * n + 1), dtype), gpu)
        for X in (wide[:k, :n].contiguous(), wide[::2, 1::3], wide[k:, 1 : n + 1]):
            multiplied(given, X, Mix(dtype, dtype), rng, gpu)
        multiplied(given, wide[:k, 0], Mix(dtype, dtype), rng, gpu)


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0), (1, 1)], ids=str)
def test_matrices_without_rows_or_columns(shape, gpu):
    S = sc.Sparse24.from_dense(torch.zeros(shape, device=gpu))
    for n in (0, 1, 12):
        Y = S @ torch.ones(shape[1], n, device=gpu)
        assert Y.shape == (shape[0], n)
        assert not back(Y).any()


@pytest.mark.parametrize("n", [1, 12])
def test_both_slots_multiply_as_ieee_says_and_nothing_else_does(n, gpu):
    W = np.array([[0.0, 3, 0, 4, 0, 0, 5, 0, 6]])  # stored: 1, 3; 6, 7; 8, and a slot past it
    S = sc.Sparse24.from_dense(tensor(W, gpu))
    X = np.ones((9, n))
    X[[0, 2, 4, 5]] = np.nan
    assert (back(S @ tensor(X, gpu)) == 18).all()
    X[7] = np.inf
    assert np.isnan(back(S @ tensor(X, gpu))).all()


@pytest.mark.parametrize("k", [30, 33])
def test_slots_of_the_padding_never_multiply(k, gpu):
    rng = np.random.default_rng(3)
    S = sparse24_operand(rng, (9, k), F32, gpu).matrix
    columns = back(S._structure.column_ids())
    values = np.where(columns < k, back(S.values), np.nan).astype(np.float32)
    assert np.isnan(values).any()
    for n in (1, 20):
        X = tensor(cases.numbers(rng, (k, n), F32), gpu)
        np.testing.assert_array_equal(back(S.with_data(tensor(values, gpu)) @ X), back(S @ X))


def test_a_sum_of_int8_products_that_might_not_fit(gpu):
    k = 2 * 131_072
    S = sc.Sparse24.from_dense(torch.zeros(1, k, dtype=torch.int8, device=gpu))
    x = torch.ones(k, 1, dtype=torch.int8, device=gpu)
    with pytest.raises(OverflowError, match="a row of 131072 entries, on a device an int8 product"):
        sc.sparse24_matmul(S, x)


def test_the_same_call_gives_the_same_bits(gpu):
    rng = np.random.default_rng(4)
    S = sparse24_operand(rng, (20, 130), F32, gpu).matrix
    for n in (1, 40):
        X = tensor(cases.numbers(rng, (130, n), F32), gpu)
        assert torch.equal(S @ X, S @ X)


@pytest.mark.parametrize("n", [4, 24])
def test_out_and_what_follows(n, gpu):
    rng = np.random.default_rng(5)
    given = sparse24_operand(rng, (11, 30), F32, gpu)
    S, X = given.matrix, tensor(cases.numbers(rng, (30, n), F32), gpu)
    beside = torch.full((22, 3 * n), 77.0, device=gpu)
    want = oracle.product(given.W, given.stored, back(X), F32)
    for out in (torch.empty(n, 11, device=gpu).t(), beside[:11, 4 : n + 4], beside[::2, ::3]):
        assert sc.sparse24_matmul(S, X, out=out) is out
        oracle.check(back(out), want, out.stride())
        out.fill_(77)
        assert (back(beside) == 77).all(), "something beside `out` was written"
    bias, scale = (tensor(cases.numbers(rng, 11, F32), gpu) for _ in range(2))
    x, residual = (tensor(cases.numbers(rng, (2, n, w), F32), gpu) for w in (30, 11))
    got = sc.linear(x, S, bias, activation="relu", residual=residual, scale=scale)
    exact = back(x).astype(np.float64) @ given.W.T * back(scale) + back(bias) + back(residual)
    np.testing.assert_allclose(back(got), np.maximum(exact, 0), rtol=1e-5, atol=1e-5)


def test_errors_are_those_of_the_host(gpu):
    rng = np.random.default_rng(6)
    host = cases.sparse24(cases.random_dense(rng, (6, 12), 0.6, F32)).matrix
    S = host.to(gpu)
    for X in (np.ones((11, 2), np.float32), np.ones((12, 2)), np.ones((12, 2), np.int8)):
        with pytest.raises((TypeError, ValueError)) as expected:
            sc.sparse24_matmul(host, X)
        with pytest.raises(expected.type) as found:
            sc.sparse24_matmul(S, tensor(X, gpu))
        assert str(found.value) == str(expected.value)
    with pytest.raises(TypeError, match="X is a ndarray; expected a tensor on that device"):
        S @ np.ones((12, 2), np.float32)
    with pytest.raises(ValueError, match="out overlaps A's values"):
        sc.sparse24_matmul(S, torch.ones(12, 6, device=gpu), out=S.values)


@pytest.mark.parametrize("dtype", [F64, I8], ids=str)
def test_products_from_the_left(dtype, gpu):
    rng = np.random.default_rng(7)
    given = sparse24_operand(rng, (12, 33), dtype, gpu)
    turned = given.W.T, given.stored.T
    dtype = oracle.result_dtype(dtype, dtype)
    X, y = (tensor(cases.numbers(rng, s, given.W.dtype), gpu) for s in ((5, 12), (12,)))
    X, y = (t.to(given.matrix.dtype) for t in (X, y))
    oracle.check(back(X @ given.matrix).T, oracle.product(*turned, back(X).T, dtype), "X @ S")
    oracle.check(back(y @ given.matrix), oracle.product(*turned, back(y), dtype), "y @ S")
