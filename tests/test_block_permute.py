"""csr_matmul with a block-permuted plan: csrc/block_permute.cpp, plans/, cpu/block_permute.h."""

import pickle

import numpy as np
import pytest

import cases
import oracle
import product_cases as products
import sparsecore as sc
from oracle import DTYPES, F32, F64
from sparsecore import _core

# Around the 16 rows of a group, the 128 of a row block, and the 63 columns of a window.
SIZES = (1, 15, 16, 17, 62, 63, 64, 65, 127, 128, 129, 260)


def permuted(W):
    return sc.CSR.from_dense(W).prepare(kernel="block_permute")


@pytest.mark.usefixtures("target")
@products.CSR_CHECKS
def test_products(check, arguments):
    check(cases.prepared("block_permute"), *arguments)


@pytest.mark.usefixtures("target", "tuned_as_amd")
@pytest.mark.parametrize("density", [0.01, 0.05, 0.3, 1.0])
def test_groups_and_windows(density):
    """Sparse ones are gathered or in wide windows, dense ones permuted where the target can."""
    rng = np.random.default_rng(50)
    for m, k in [*((m, 200) for m in SIZES), *((150, k) for k in SIZES)]:
        W = cases.random_dense(rng, (m, k), density, F32)
        P = permuted(W)
        for n in (1, 2, 3, 4, 5):
            X = cases.numbers(rng, (k, n), F32)
            want = oracle.product(W, W != 0, X, F32)
            oracle.check(P @ X, want, f"{m}x{k}x{n}")


@pytest.mark.usefixtures("target", "tuned_as_amd")
@pytest.mark.parametrize("columns", [700, 1300, 70_000])
def test_rows_of_every_length_side_by_side(columns):
    """Rows run ahead and fall behind; padding never meets what X holds."""
    rng = np.random.default_rng(51)
    W = np.zeros((300, columns), F32)
    for row in range(300):
        reach = rng.integers(1, columns)  # some rows end early, some are dense in few columns
        W[row, rng.choice(reach, min(reach, rng.integers(0, 300) * (row % 3)), replace=False)] = 1
    unread = ~W.any(axis=0)
    X = np.ones((columns, 5), F32)
    X[unread] = np.nan
    Y = permuted(W) @ X
    np.testing.assert_array_equal(Y, W.sum(axis=1, keepdims=True).repeat(5, axis=1))
    X[:] = np.nan
    assert not (permuted(W) @ X)[~W.any(axis=1)].any()


@pytest.mark.usefixtures("target", "tuned_as_amd")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("density", [0.01, 0.02, 0.3])
def test_values_go_in_and_out(dtype, density):
    rng = np.random.default_rng(52)
    W = cases.random_dense(rng, (260, 270), density, dtype)
    A, P = sc.CSR.from_dense(W), permuted(W)
    np.testing.assert_array_equal(oracle.bits(P.unpack()), oracle.bits(A.data))
    other = cases.numbers(rng, A.nnz, dtype)
    P.update(other)
    np.testing.assert_array_equal(oracle.bits(P.unpack()), oracle.bits(other))
    dense, result = A.with_data(other).toarray(), oracle.result_dtype(dtype, dtype)
    X = cases.numbers(rng, (270, 2), dtype)
    oracle.check(P @ X, oracle.product(dense, dense != 0, X, result), "P @ X")
    X = cases.numbers(rng, (260, 2), dtype)
    oracle.check((X.T @ P).T, oracle.product(dense.T, dense.T != 0, X, result), "X.T @ P")


@pytest.mark.usefixtures("tuned_as_amd")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("density", [0.05, 0.3])
def test_a_plan_outlives_its_target(dtype, density):
    """The layout is the target's choice, but every target multiplies by every layout."""
    rng = np.random.default_rng(53)
    W = cases.random_dense(rng, (70, 90), density, dtype)
    X = cases.numbers(rng, (90, 3), dtype)
    want = oracle.product(W, W != 0, X, oracle.result_dtype(dtype, dtype))
    before = sc.cpu.target()
    try:
        for made in sc.cpu.targets():
            sc.cpu.set_target(made)
            P = permuted(W)
            for run in sc.cpu.targets():
                sc.cpu.set_target(run)
                oracle.check(P @ X, want, f"made for {made}, run on {run}")
    finally:
        sc.cpu.set_target(before)


@pytest.mark.usefixtures("tuned_as_amd")
def test_threads_do_not_change_the_bits():
    rng = np.random.default_rng(54)
    for density in (0.01, 0.05, 0.3):
        P = permuted(cases.random_dense(rng, (1500, 700), density, F32))
        for n in (1, 6):
            X = cases.numbers(rng, (700, n), F32)
            one = sc.csr_matmul(P, X, threads=1)
            for threads in (2, 3, 8):
                many = sc.csr_matmul(P, X, threads=threads)
                np.testing.assert_array_equal(oracle.bits(one), oracle.bits(many))


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_ways_to_gather_do_not_change_the_bits(dtype):
    rng = np.random.default_rng(55)
    W = cases.random_dense(rng, (150, 700), 0.01, dtype)  # too sparse for windows
    P, x = permuted(W), cases.numbers(rng, 700, dtype)
    try:
        bits = []
        for way in (False, True):
            _core.tune_as_amd(way)
            bits.append(oracle.bits(P @ x))
    finally:
        _core.tune_as_amd(None)
    np.testing.assert_array_equal(*bits)


@pytest.mark.usefixtures("target", "tuned_as_amd")
def test_the_rule():
    """One column, or up to four of narrow values where registers are looked up in."""
    dense = np.ones((64, 64))
    most = 4 if sc.cpu.target() == "avx512" else 1
    for dtype, last in ((F32, most), (F64, 1)):
        A = sc.CSR.from_dense(dense.astype(dtype))
        kernels = [A.prepare(n=n).kernel for n in (1, last, last + 1)]
        assert kernels == ["block_permute", "block_permute", "packed_sweep"]
    skewed = np.zeros((128, 3000))
    skewed[:, :20] = 1
    skewed[5] = 1  # fifteen lanes would wait for it
    apart = np.zeros((64, 4096))  # rows of one length that share no window
    for row in range(64):
        apart[row, row % 16 * 256 :][:256] = 1
    for W in (dense[:63], np.eye(64), np.ones((64, 7)), skewed, apart):
        assert sc.CSR.from_dense(W).prepare(n=1).kernel == "row_sweep"


def test_copies_keep_their_kernel():
    P = permuted(np.eye(5))
    again = pickle.loads(pickle.dumps(P))
    assert (again.kernel, again @ np.ones(5)) == ("block_permute", pytest.approx(np.ones(5)))


def test_the_bytes_are_counted():
    P = permuted(np.ones((128, 100), F64))  # fp64 is gathered: two slots and a code a step
    chunks = 8 * 50
    assert P.nbytes == chunks * (16 * 2 * 8 + 16 * 4 + 4) + 128 + (9 + 2) * 8
