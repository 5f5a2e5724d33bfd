"""Products over blocks: csrc/blocked_rows.*, packed.*, plans/{block_product.h,packed}.*."""

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
    check(cases.prepared("packed_sweep"), *arguments)


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


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("cols", [256, 257, 65536, 65537])
def test_columns_of_every_width(cols):
    rng = np.random.default_rng(43)
    columns = np.sort(np.stack([rng.choice(cols, 100, replace=False) for _ in range(9)]))
    columns[:, -1] = cols - 1
    values = cases.numbers(rng, 900, F64)
    rows = np.repeat(np.arange(9), 100)
    A = sc.COO((values, (rows, columns.ravel())), shape=(9, cols)).tocsr()
    x = cases.numbers(rng, (cols, 2), F64)
    W = A.toarray()
    oracle.check(A.prepare(kernel="packed_sweep") @ x, oracle.product(W, W != 0, x, F64), str(cols))


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


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_wide_products_of_a_matrix_with_long_rows(dtype):
    """They are packed for the one call, without being asked to: the same bits as with a plan."""
    rng = np.random.default_rng(44)
    W = cases.random_dense(rng, (130, 700), 0.5, dtype)
    A = sc.CSR.from_dense(W)
    for n, layout in ((64, "C"), (80, "F"), (130, "C")):
        X = cases.laid_out(cases.numbers(rng, (700, n), dtype), layout)
        want = oracle.product(W, W != 0, X, oracle.result_dtype(dtype, dtype))
        oracle.check(A @ X, want, f"n={n}")
        if sc.cpu.target() != "baseline":
            planned = A.prepare(n=n, kernel="packed_sweep") @ X
            assert (oracle.bits(A @ X) == oracle.bits(planned)).all()


def test_the_rule(tuned_as_amd):
    """Packed for many columns, given 8 entries a column and 64 a row, or 40."""
    full = sc.CSR.from_dense(np.ones((8, 64)))
    for n, kernel in ((None, "packed_sweep"), (90, "packed_sweep"), (0, "row_sweep")):
        assert full.prepare(n=n).kernel == kernel
    for shape in ((7, 64), (8, 39)):
        assert sc.CSR.from_dense(np.ones(shape)).prepare().kernel == "row_sweep"
    medium = sc.CSR.from_dense(np.ones((8, 40)))
    is_wide = sc.cpu.target() == "avx512"
    expected = [is_wide, is_wide, is_wide and tuned_as_amd]
    assert [medium.prepare(n=n).kernel == "packed_sweep" for n in (33, 64, 65)] == expected
    with pytest.raises(ValueError, match="prepare: kernel is 'fast', expected 'block_permute',"):
        full.prepare(kernel="fast")


def test_the_structure_is_made_again_where_nobody_keeps_it():
    rng = np.random.default_rng(45)
    for shape in ((1, 1), (130, 70), (300, 1000)):
        W = cases.random_dense(rng, shape, 0.2, F32)
        P = packed(W)  # its CSR is gone
        again = sc.CSR._wrap(P._structure, P.unpack())
        again.check()
        assert again.equals(sc.CSR.from_dense(W))


def test_the_bytes_are_counted():
    P = packed(np.ones((128, 128), F32))  # one block of rows, one of columns
    entries = 128 * 128
    groups = 32
    assert P.nbytes == entries * (4 + 2) + groups * 4 * (2 + 2) + 2 * 8 + 129 * 2
