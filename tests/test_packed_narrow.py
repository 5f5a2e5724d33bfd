"""Packed products with few columns: parts of vectors; X and the result where they lie."""

import numpy as np
import pytest

import cases
import oracle
import sparsecore as sc
from oracle import DTYPES, F32, F64

# Around four and eight columns, and one and two vectors of 4, 8 and 16.
COLUMNS = (2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 24, 31, 32, 33)


def planned(W, n):
    return sc.CSR.from_dense(W).prepare(n=n, kernel="packed_sweep")


def aligned(X, offset=0):
    """Return a copy of X that begins `offset` bytes after a page."""
    room = np.empty(X.nbytes + 8192, np.uint8)
    begin = -room.ctypes.data % 4096 + offset
    copy = room[begin : begin + X.nbytes].view(X.dtype).reshape(X.shape)
    copy[...] = X
    return copy


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_products(dtype):
    rng = np.random.default_rng(60)
    for m, k, density in ((1, 1, 1.0), (3, 40, 0.5), (130, 70, 0.2), (256, 600, 0.03)):
        W = cases.random_dense(rng, (m, k), density, dtype)
        for n in COLUMNS:
            X = cases.numbers(rng, (k, n), dtype)
            want = oracle.product(W, W != 0, X, oracle.result_dtype(dtype, dtype))
            oracle.check(planned(W, n) @ X, want, f"{m}x{k}x{n}")


@pytest.mark.usefixtures("target")
def test_places_of_the_operands():
    """Wherever X and the result lie: as many bits, and nothing written beside the result."""
    rng = np.random.default_rng(61)
    W = cases.random_dense(rng, (150, 90), 0.2, F32)
    for n in COLUMNS:
        P = planned(W, n)
        X = cases.numbers(rng, (90, n), F32)
        want = P @ aligned(X)
        oracle.check(want, oracle.product(W, W != 0, X, F32), f"n={n}")
        wide = np.full((90, n + 3), np.nan, F32)
        wide[:, 1:-2] = X
        for other in (aligned(X, 4), aligned(X, 16), aligned(X.T).T, wide[:, 1:-2]):
            np.testing.assert_array_equal(P @ other, want)
        room = np.full((150, n + 2), 7, F32)
        sc.csr_matmul(P, aligned(X), out=room[:, 1:-1])
        np.testing.assert_array_equal(room[:, 1:-1], want)
        assert (room[:, [0, -1]] == 7).all()


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_what_no_entry_reads_is_skipped(value):
    """Padding names a column of X that its row may not have; other columns keep their bits."""
    rng = np.random.default_rng(62)
    W = np.zeros((260, 300), F32)
    for row in range(260):
        W[row, rng.choice(np.arange(1, 300), row % 9, replace=False)] = rng.uniform(1, 2)
    W[::5, 0] = 1
    for n in (2, 4, 8, 16, 32):
        P = planned(W, n)
        X = aligned(cases.numbers(rng, (300, n), F32))
        want = P @ X
        X[0, 1] = value
        found = P @ X
        np.testing.assert_array_equal(found[:, 0], want[:, 0])
        rows = np.arange(260) % 5 == 0
        np.testing.assert_array_equal(found[~rows], want[~rows])
        np.testing.assert_array_equal(found[rows, 1], np.full(52, value))


@pytest.mark.usefixtures("target")
def test_more_columns_than_one_block_takes():
    rng = np.random.default_rng(63)
    k = 20_000
    rows = np.repeat(np.arange(40), 30)
    columns = np.concatenate([np.sort(rng.choice(k, 30, replace=False)) for _ in range(40)])
    A = sc.COO((cases.numbers(rng, 1200, F64), (rows, columns)), shape=(40, k)).tocsr()
    W = A.toarray()
    for n in (2, 8, 9):
        X = cases.numbers(rng, (k, n), F64)
        oracle.check(
            A.prepare(n=n, kernel="packed_sweep") @ X, oracle.product(W, W != 0, X, F64), f"n={n}"
        )


def test_threads_do_not_change_the_bits():
    rng = np.random.default_rng(64)
    W = cases.random_dense(rng, (1500, 700), 0.05, F32)
    for n in (3, 8, 16, 32):
        P, X = planned(W, n), cases.numbers(rng, (700, n), F32)
        one = sc.csr_matmul(P, X, threads=1)
        for threads in (2, 3, 8):
            many = sc.csr_matmul(P, X, threads=threads)
            np.testing.assert_array_equal(oracle.bits(one), oracle.bits(many))


def test_a_plan_for_few_columns_takes_any_number():
    rng = np.random.default_rng(65)
    W = cases.random_dense(rng, (70, 900), 0.1, F32)
    P = planned(W, 4)
    for n in (1, 4, 33, 100):
        X = cases.numbers(rng, (900, n), F32)
        oracle.check(P @ X, oracle.product(W, W != 0, X, F32), f"n={n}")


@pytest.mark.usefixtures("target")
def test_the_rule():
    """Packed for up to two vectors of columns where X is read in place, or used often enough."""
    lanes = {"avx512": 16, "avx2": 8, "baseline": 4}[sc.cpu.target()]
    copied = 2 * lanes - 1
    least = 4 + copied // 8
    for entries, kernel in ((least - 1, "row_sweep"), (least, "packed_sweep")):
        A = sc.CSR.from_dense(np.eye(40)[np.arange(40 * entries) % 40])
        assert A.prepare(n=copied).kernel == kernel
        assert A.prepare(n=2 * lanes + 1).kernel == "row_sweep"
    for rows, kernel in ((12, "row_sweep"), (16, "packed_sweep"), (18, "row_sweep")):
        A = sc.CSR.from_dense(np.eye(rows, 40))
        assert A.prepare(n=2 * lanes).kernel == kernel
        assert A.prepare(n=4).kernel == kernel


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("entries", [1, 9])
def test_an_unaligned_panel_is_copied_only_where_it_is_used_often(entries):
    """Either way the same bits, wherever X begins."""
    rng = np.random.default_rng(66)
    W = np.zeros((64, 40), F32)
    for row in range(64):
        W[row, rng.choice(40, entries, replace=False)] = 1.5
    for n in (4, 8, 16, 32):
        P, X = planned(W, n), cases.numbers(rng, (40, n), F32)
        want = P @ aligned(X)
        oracle.check(want, oracle.product(W, W != 0, X, F32), f"n={n}")
        for offset in (1, 4, 8, 16, 60):
            np.testing.assert_array_equal(P @ aligned(X, offset), want)
