"""2:4 products on tensor cores: csrc/cuda/tiles24.cu, for whole steps of 64 columns of S."""

import ml_dtypes
import numpy as np
import pytest

import cases
import oracle
import sparsecore as sc
from device_cases import back, sparse24_operand, tensor
from oracle import BF16, F16, I8

torch = pytest.importorskip("torch", reason="torch is not installed")

pytestmark = [pytest.mark.gpu, pytest.mark.small]

E4M3, E5M2 = np.dtype(ml_dtypes.float8_e4m3fn), np.dtype(ml_dtypes.float8_e5m2)

SHORT = pytest.mark.parametrize("dtype", [F16, BF16], ids=str)


@SHORT
@pytest.mark.parametrize(
    ("shape", "widths"),
    [((1, 64), (0, 1, 129)), ((37, 64), (7, 33)), ((17, 320), (1, 16))],
    ids=str,
)
def test_any_number_of_columns_and_rows(shape, widths, dtype, gpu):
    """Fewer and more steps than a block has warps, rows and columns that fill no tile."""
    rng = np.random.default_rng(1)
    given = sparse24_operand(rng, shape, dtype, gpu)
    for n in widths:
        X = cases.numbers(rng, (shape[1], n), dtype)
        want = oracle.product(given.W, given.stored, X, dtype)
        for layout in (tensor(X, gpu), tensor(np.asfortranarray(X), gpu)):
            oracle.check(back(given.matrix @ layout), want, f"n={n}, {layout.stride()}")


def test_strided_right_sides_and_vectors(gpu):
    rng = np.random.default_rng(4)
    given = sparse24_operand(rng, (5, 64), F16, gpu)
    wide = tensor(cases.numbers(rng, (128, 11), F16), gpu)
    for X in (wide[::2, 1:4], wide.t().contiguous().t()[1:65], wide[:64, 3], wide[:64, :1]):
        want = oracle.product(given.W, given.stored, back(X), F16)
        oracle.check(back(given.matrix @ X), want, f"{X.stride()}")


@SHORT
def test_each_column_meets_its_value(dtype, gpu):
    """Each of the 64 of a step, in rows of both halves of a tile."""
    W = np.zeros((64, 64), dtype)
    np.fill_diagonal(W, 1)
    S = sc.Sparse24.from_dense(tensor(W, gpu))
    X = np.arange(64 * 3).reshape(64, 3).astype(dtype)
    np.testing.assert_array_equal(back(S @ tensor(X, gpu)), X)


@pytest.mark.parametrize(
    ("dtype", "x_dtype"),
    [(F16, F16), (BF16, BF16), (I8, BF16), (E4M3, F16), (E5M2, BF16)],
    ids=str,
)
def test_what_x_holds_where_nothing_is_stored_does_not_matter(dtype, x_dtype, gpu):
    rng = np.random.default_rng(2)
    given = sparse24_operand(rng, (20, 128), dtype, gpu)
    scale = torch.ones(20, device=gpu)
    for value in (np.nan, np.inf):
        X = cases.numbers(rng, (128, 3), x_dtype)
        X[70] = value
        Y = sc.sparse24_matmul(given.matrix, tensor(X, gpu), scale=scale)
        Y = back(Y).astype(np.float64)
        hit = given.stored[:, 70]
        assert 0 < hit.sum() < len(hit)
        assert np.isfinite(Y[~hit]).all()
        assert not np.isfinite(Y[hit]).any()


@SHORT
def test_what_follows_and_the_same_bits(dtype, gpu):
    rng = np.random.default_rng(3)
    given = sparse24_operand(rng, (20, 192), dtype, gpu)
    x = tensor(cases.numbers(rng, (2, 5, 192), dtype), gpu)
    bias = tensor(cases.numbers(rng, 20, dtype), gpu)
    residual = tensor(cases.numbers(rng, (2, 5, 20), dtype), gpu)
    got = sc.linear(x, given.matrix, bias, residual=residual, activation="relu")
    exact = back(x).astype(np.float64) @ given.W.T + back(bias) + back(residual)
    magnitude = np.abs(back(x).astype(np.float64)) @ np.abs(given.W.T) + 4
    bound = 2 * oracle.unit(dtype) * magnitude
    assert (np.abs(back(got) - np.maximum(exact, 0)) <= bound).all()
    assert torch.equal(got, sc.linear(x, given.matrix, bias, residual=residual, activation="relu"))
