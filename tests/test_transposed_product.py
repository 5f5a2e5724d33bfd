"""A.T @ X: csrc/plans/stateless.cpp and two_way.cpp (the kernel: tests/test_row_scatter.py)."""

import pickle

import numpy as np
import pytest

import cases
import oracle
import sparsecore as sc
from oracle import F16, F32, F64, I8


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("dtype", [F64, F32, F16], ids=str)
@pytest.mark.parametrize("layout", "CF")
def test_wide_right_sides(dtype, layout):
    """From 128 columns on the transpose is made first."""
    rng = np.random.default_rng(50)
    for m, k, density in ((90, 130, 0.5), (300, 33, 0.6), (1000, 1000, 0.006)):
        W = cases.random_dense(rng, (m, k), density, dtype)
        assert np.count_nonzero(W) >= 4096
        for n in (127, 128, 200):
            X = cases.laid_out(cases.numbers(rng, (m, n), dtype), layout)
            want = oracle.product(W.T, W.T != 0, X, dtype)
            oracle.check(sc.csr_matmul(sc.CSR.from_dense(W).T, X), want, f"{m}x{k}x{n}")


def test_wide_right_sides_of_integers():
    rng = np.random.default_rng(51)
    W, X = cases.random_dense(rng, (80, 90), 0.9, I8), cases.numbers(rng, (80, 128), I8)
    want = W.T.astype(np.int64) @ X.astype(np.int64)
    np.testing.assert_array_equal(sc.csr_matmul(sc.CSR.from_dense(W).T, X), want)


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("kernel", [None, "packed_sweep", "block_permute", "row_sweep"])
def test_plans_for_both_directions(kernel):
    rng = np.random.default_rng(52)
    W = cases.random_dense(rng, (200, 170), 0.7, F32)
    A = sc.CSR.from_dense(W)
    P = A.prepare(backward=True, kernel=kernel)
    one_way = A.prepare(kernel=kernel)
    assert P.kernel == one_way.kernel
    assert P.nbytes >= 2 * one_way.nbytes
    for n in (1, 5, 130):
        X, Y = cases.numbers(rng, (170, n), F32), cases.numbers(rng, (200, n), F32)
        oracle.check(P @ X, oracle.product(W, W != 0, X, F32), f"n={n}")
        want = oracle.product(W.T, W.T != 0, Y, F32)
        oracle.check((Y.T @ P).T, want, f"transposed, n={n}")
        oracle.check((Y.T @ pickle.loads(pickle.dumps(P))).T, want, f"pickled, n={n}")


def test_both_directions_take_new_values():
    rng = np.random.default_rng(53)
    W = cases.random_dense(rng, (60, 70), 0.5, F32)
    A = sc.CSR.from_dense(W)
    P = A.prepare(backward=True)
    P.update(3 * A.data)
    np.testing.assert_array_equal(P.unpack(), 3 * A.data)
    np.testing.assert_allclose(P @ np.ones(70, F32), 3 * W.sum(axis=1), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(np.ones(60, F32) @ P, 3 * W.sum(axis=0), rtol=1e-4, atol=1e-4)


def test_copies_choose_anew_for_both_directions():
    """What suits the transpose is chosen for it, not taken from the matrix."""
    W = np.zeros((512, 512), F32)
    W[:, :4] = 1  # long rows of the transpose, empty ones
    W[:, 100:120] = 1
    P = sc.CSR.from_dense(W).prepare(n=1, backward=True)
    twin = pickle.loads(pickle.dumps(P))
    assert (twin.kernel, twin.nbytes) == (P.kernel, P.nbytes)
