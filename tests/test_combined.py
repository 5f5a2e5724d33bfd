"""int8 by int8, several entries at once: csrc/combined.*, plans/combined.*, combined_sweep.h."""

import numpy as np
import pytest

import cases
import sparsecore as sc
from oracle import F32, I8


def packed(W):
    return sc.CSR.from_dense(W).prepare(kernel="packed_sweep")


def exact(W, X):
    return W.astype(np.int64) @ X.astype(np.int64)


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("density", [0.02, 0.1, 0.5, 1.0])
def test_shapes_and_widths(density):
    """Around the four columns of an item, the 128 rows of a block, and a block's items."""
    rng = np.random.default_rng(50)
    for m, k in ((1, 1), (3, 2), (5, 3), (7, 5), (127, 63), (128, 64), (133, 1037), (260, 2050)):
        W = cases.random_dense(rng, (m, k), density, I8)
        P = packed(W)
        for n in (1, 2, 15, 33, 70):
            X = rng.integers(-128, 128, (k, n)).astype(I8)
            got = P @ X
            assert got.dtype == np.int32
            assert (got == exact(W, X)).all(), f"{m}x{k}x{n}"


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("layout", cases.LAYOUTS)
def test_layouts(layout):
    rng = np.random.default_rng(51)
    for k in (6, 131, 520):
        W = cases.random_dense(rng, (150, k), 0.4, I8)
        X = cases.laid_out(cases.numbers(rng, (k, 67), I8), layout)
        assert (packed(W) @ X == exact(W, X)).all(), k


@pytest.mark.usefixtures("target")
def test_extremes_of_int8_and_of_the_sum():
    """The longest row whose sums fit, and one whose do not but on the way."""
    most = 131071  # (2**31 - 1) // (128 * 128)
    for left in (-128, 127):
        for right in (-128, 127):
            W, X = np.full((2, most), left, I8), np.full((most, 2), right, I8)
            assert (packed(W) @ X == most * left * right).all()
    W, X = np.full((1, most + 2), -128, I8), np.full((most + 2, 1), -128, I8)
    with pytest.raises(OverflowError, match="int32"):
        packed(W) @ X
    X[-20:] = 127
    assert (packed(W) @ X == exact(W, X)).all()


@pytest.mark.usefixtures("target")
def test_updates_and_floating_right_sides_on_the_same_plan():
    rng = np.random.default_rng(52)
    W = cases.random_dense(rng, (140, 300), 0.4, I8)
    P, X = packed(W), cases.numbers(rng, (300, 20), I8)
    before = P.nbytes
    scale = np.ones(140, F32)
    for _ in range(3):
        assert (exact(W, X) == P @ X).all()
        assert P.nbytes > before
        assert (sc.csr_matmul(P, X.astype(F32), scale=scale) == exact(W, X)).all()
        assert (P.tocsr().toarray() == W).all()
        W[W != 0] = cases.numbers(rng, np.count_nonzero(W), I8)
        P.update(W[W != 0])
        assert P.nbytes == before


@pytest.mark.usefixtures("target")
def test_rows_and_columns_without_entries_and_threads():
    rng = np.random.default_rng(53)
    W = cases.random_dense(rng, (700, 400), 0.5, I8)
    W[rng.random(700) < 0.5] = 0
    W[:, rng.random(400) < 0.5] = 0
    W[300] = 1
    X = cases.numbers(rng, (400, 130), I8)
    for threads in (1, 3):
        assert (sc.csr_matmul(packed(W), X, threads=threads) == exact(W, X)).all()
    empty = sc.CSR((np.zeros(0, I8), [], np.zeros(6, int)), shape=(5, 4))
    assert not (empty.prepare(kernel="packed_sweep") @ X[:4]).any()


def test_a_plan_of_one_target_runs_on_every_other():
    rng = np.random.default_rng(54)
    W = cases.random_dense(rng, (130, 259), 0.4, I8)
    X = cases.numbers(rng, (259, 40), I8)
    before = sc.cpu.target()
    try:
        for made in sc.cpu.targets():
            sc.cpu.set_target(made)
            P = packed(W)
            for run in (made, *sc.cpu.targets()):
                sc.cpu.set_target(run)
                assert (exact(W, X) == P @ X).all(), f"made for {made}, run on {run}"
    finally:
        sc.cpu.set_target(before)
