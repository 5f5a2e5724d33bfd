"""Dense to CSR: csrc/dense_convert.cpp, csrc/cpu/dense_rows.h."""

import numpy as np
import pytest

import cases
import sparsecore as sc
from oracle import DTYPES, F32, FLOATING, bits

pytestmark = pytest.mark.usefixtures("target")


def check(W, case):
    A = sc.CSR.from_dense(W)
    row, column = np.nonzero(W)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(W)))])
    np.testing.assert_array_equal(A.indptr, indptr, case)
    np.testing.assert_array_equal(A.indices, column, case)
    np.testing.assert_array_equal(bits(A.data), bits(W[row, column]), case)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_row_lengths_and_densities(dtype):
    rng = np.random.default_rng(1)
    for k in (1, 7, 8, 9, 15, 16, 17, 33, 64, 255, 256, 257, 300):
        for density in (0.0, 0.03, 0.5, 1.0):
            W = cases.random_dense(rng, (5, k), density, dtype)
            for order in "CF":
                check(np.asarray(W, order=order), f"k={k}, density={density}, {order}")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_columns_of_four_bytes(dtype):
    W = np.zeros((2, 65570), dtype)
    W[:, [0, 65535, 65536, 65569]] = 3
    check(W, "wide")


def test_negative_zero_is_zero_and_nan_is_not():
    for dtype in FLOATING:
        W = np.tile(np.array([-0.0, np.nan, 0, np.inf, -1], dtype), (2, 20))
        A = sc.CSR.from_dense(W)
        assert A.nnz == 120
        assert np.isnan(A.data.astype(np.float64)).sum() == 40


def test_large_matrices_are_read_once_or_twice_alike():
    """32 MB and more: one thread makes one pass, several count first."""
    rng = np.random.default_rng(2)
    part = cases.random_dense(rng, (64, 4100), 0.02, F32)
    W = np.tile(part, (33, 1))
    assert W.nbytes >= 32 << 20
    before = sc.get_num_threads()
    try:
        for threads in (1, 2):
            sc.set_num_threads(threads)
            check(W, f"{threads} threads")
            assert sc.CSR.from_dense(np.zeros_like(W)).nnz == 0
    finally:
        sc.set_num_threads(before)
