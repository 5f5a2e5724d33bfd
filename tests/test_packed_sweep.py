"""csr_matmul with a packed plan: csrc/packed.cpp, plans/packed.cpp, cpu/packed_sweep.h."""

import pickle

import numpy as np
import pytest

import cases
import oracle
import product_cases as products
import sparsecore as sc
from oracle import DTYPES, F32, F64

# Around the 128 rows of a row block, and the 128, 256 and 512 columns of a column block.
SIZES = (1, 3, 4, 5, 127, 128, 129, 255, 257, 511, 513, 1030)


def packed(W):
    return sc.CSR.from_dense(W).prepare(kernel="packed_sweep")


@pytest.mark.usefixtures("target")
@products.CSR_CHECKS
def test_products(check, arguments):
    check(cases.packed, *arguments)


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("density", [0.01, 0.03, 0.2, 1.0])
def test_blocks_of_rows_and_columns(density):
    rng = np.random.default_rng(40)
    for m, k in [*((m, 300) for m in SIZES), *((300, k) for k in SIZES)]:
        W = cases.random_dense(rng, (m, k), density, F64)
        P = packed(W)
        for n in (2, 9, 70):
            X = cases.numbers(rng, (k, n), F64)
            want = oracle.product(W, W != 0, X, F64)
            oracle.check(P @ X, want, f"{m}x{k}x{n}")


@pytest.mark.usefixtures("target")
def test_rows_of_every_length_side_by_side():
    """Groups pad the shorter of their rows; padding never meets what X holds."""
    rng = np.random.default_rng(41)
    W = np.zeros((400, 600), F32)
    for row in range(400):
        W[row, rng.choice(600, rng.integers(0, 80) * (row % 3), replace=False)] = 1
    X = np.full((600, 20), np.nan, F32)
    X[:, 3] = 1
    Y = packed(W) @ X
    assert Y[:, 3].tolist() == W.sum(axis=1).tolist()
    assert not Y[W.sum(axis=1) == 0].any()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_values_go_in_and_out(dtype):
    rng = np.random.default_rng(42)
    W = cases.random_dense(rng, (260, 270), 0.3, dtype)
    A, P = sc.CSR.from_dense(W), packed(W)
    np.testing.assert_array_equal(oracle.bits(P.unpack()), oracle.bits(A.data))
    other = cases.numbers(rng, A.nnz, dtype)
    P.update(other)
    np.testing.assert_array_equal(oracle.bits(P.unpack()), oracle.bits(other))
    X = cases.numbers(rng, (270, 5), dtype)
    want = sc.csr_matmul(A.with_data(other), X)
    np.testing.assert_allclose(
        (P @ X).astype(np.float64), want.astype(np.float64), rtol=0.02, atol=0.5
    )


def test_copies_keep_their_kernel():
    P = packed(np.eye(5))
    again = pickle.loads(pickle.dumps(P))
    assert (again.kernel, again @ np.ones(5)) == ("packed_sweep", pytest.approx(np.ones(5)))


def test_the_rule():
    """Packed for more than one column, given 8 entries a column and 64 a row."""
    full = sc.CSR.from_dense(np.ones((8, 64)))
    for n, kernel in ((None, "packed_sweep"), (9, "packed_sweep"), (0, "row_sweep")):
        assert full.prepare(n=n).kernel == kernel
    for shape in ((7, 64), (8, 63)):
        assert sc.CSR.from_dense(np.ones(shape)).prepare().kernel == "row_sweep"
    with pytest.raises(ValueError, match="prepare: kernel is 'fast', expected 'block_permute',"):
        full.prepare(kernel="fast")


def test_the_bytes_are_counted():
    P = packed(np.ones((128, 256), F32))
    entries = 128 * 256
    groups = 32 * 2  # of each of two column blocks
    assert P.nbytes == entries * (4 + 2) + groups * (2 + 4 * 2) + 3 * 8
