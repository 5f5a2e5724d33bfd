"""csr_sddmm: csrc/plans/sddmm.cpp, csrc/cpu/sddmm.h."""

import numpy as np
import pytest

import cases
import oracle
import sparsecore as sc
from oracle import DTYPES, F16, F32, F64, FLOATING, I8

pytestmark = pytest.mark.usefixtures("target")

# Inner sizes around the vector widths, and around the 256 columns of a converted panel.
WIDTHS = (0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 255, 256, 257, 515)
SHAPES = ((0, 0), (0, 4), (4, 0), (1, 1), (3, 5), (9, 4), (17, 33), (2, 70))


def pattern_of(rng, shape, density):
    """Return a CSR with that pattern and the row and column of each entry."""
    W = cases.random_dense(rng, shape, density, F32)
    return sc.CSR.from_dense(W), *np.nonzero(W)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_shapes_and_layouts(dtype):
    rng = np.random.default_rng(11)
    for m, k in SHAPES:
        for density in (0.0, 0.4, 1.0):
            A, rows, cols = pattern_of(rng, (m, k), density)
            for n, (left, right) in zip(WIDTHS, layout_pairs(), strict=False):
                U = cases.laid_out(cases.numbers(rng, (m, n), dtype), left)
                V = cases.laid_out(cases.numbers(rng, (k, n), dtype), right)
                case = f"{m}x{k}, density {density}, n={n}, {left}/{right}"
                oracle.check(sc.csr_sddmm(A, U, V), oracle.sampled(rows, cols, U, V), case)


def layout_pairs():
    """Yield each memory order of U and of V at least twice."""
    orders = cases.LAYOUTS
    for i in range(3 * len(orders)):
        yield orders[i % len(orders)], orders[(i + i // len(orders)) % len(orders)]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_layout_at_every_width(dtype):
    rng = np.random.default_rng(12)
    A, rows, cols = pattern_of(rng, (7, 11), 0.5)
    for n in WIDTHS:
        for layout in cases.LAYOUTS:
            U = cases.laid_out(cases.numbers(rng, (7, n), dtype), layout)
            V = cases.laid_out(cases.numbers(rng, (11, n), dtype), layout)
            case = f"n={n}, {layout}"
            oracle.check(sc.csr_sddmm(A, U, V), oracle.sampled(rows, cols, U, V), case)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_vectors(dtype):
    """1-D U and V are one column: an outer product, sampled."""
    rng = np.random.default_rng(13)
    A, rows, cols = pattern_of(rng, (8, 13), 0.5)
    for layout in ("C", "strided", "negative", "misaligned"):
        U = cases.laid_out(cases.numbers(rng, 8, dtype), layout)
        V = cases.laid_out(cases.numbers(rng, 13, dtype), layout)
        oracle.check(sc.csr_sddmm(A, U, V), oracle.sampled(rows, cols, U, V), layout)


@pytest.mark.parametrize("dtype", [F32, F16, I8], ids=str)
def test_rows_longer_than_the_decoded_window(dtype):
    rng = np.random.default_rng(14)
    W = np.zeros((5, 1600), np.float32)
    for row, length in enumerate((511, 512, 513, 0, 1500)):
        W[row, rng.choice(1600, length, replace=False)] = 1
    A, (rows, cols) = sc.CSR.from_dense(W), np.nonzero(W)
    for n in (1, 5, 16):
        U, V = cases.numbers(rng, (5, n), dtype), cases.numbers(rng, (1600, n), dtype)
        oracle.check(sc.csr_sddmm(A, U, V), oracle.sampled(rows, cols, U, V), f"n={n}")


@pytest.mark.parametrize("dtype", [F32, F64, I8], ids=str)
def test_blocks_of_rows_and_columns(dtype):
    """More than 128 rows; 300 columns of V's rows fill the first-level cache many times over."""
    rng = np.random.default_rng(17)
    A, rows, cols = pattern_of(rng, (140, 201), 0.4)
    for n in (40, 300):
        U, V = cases.numbers(rng, (140, n), dtype), cases.numbers(rng, (201, n), dtype)
        got = sc.csr_sddmm(A, U, V, threads=1)
        oracle.check(got, oracle.sampled(rows, cols, U, V), f"n={n}")
        assert (oracle.bits(got) == oracle.bits(sc.csr_sddmm(A, U, V, threads=3))).all()


def test_plan_and_values_of_any_dtype_lend_their_pattern():
    rng = np.random.default_rng(15)
    A, rows, cols = pattern_of(rng, (6, 9), 0.5)
    U, V = cases.numbers(rng, (6, 4), F64), cases.numbers(rng, (9, 4), F64)
    want = oracle.sampled(rows, cols, U, V)
    for dtype in DTYPES:
        oracle.check(sc.csr_sddmm(A.astype(dtype), U, V), want, dtype)
        oracle.check(sc.csr_sddmm(A.astype(dtype).prepare(), U, V), want, dtype)


@pytest.mark.parametrize("dtype", FLOATING, ids=str)
def test_nan_and_infinity_reach_only_their_entries(dtype):
    rng = np.random.default_rng(16)
    A, rows, cols = pattern_of(rng, (7, 9), 0.4)
    for n in (1, 2, 7, 16, 33, 300):
        U, V = cases.numbers(rng, (7, n), dtype), cases.numbers(rng, (9, n), dtype)
        clean = sc.csr_sddmm(A, U, V)
        for poison in (np.nan, np.inf):
            for row in range(7):
                bad = U.copy()
                bad[row, n // 2] = poison
                check_spread(sc.csr_sddmm(A, bad, V), clean, rows == row, f"n={n}, U row {row}")
            for col in range(9):
                bad = V.copy()
                bad[col, n - 1] = poison
                check_spread(sc.csr_sddmm(A, U, bad), clean, cols == col, f"n={n}, V row {col}")


def check_spread(got, clean, touched, case):
    finite = np.isfinite(got.astype(np.float64))
    assert (finite == ~touched).all(), case
    assert (oracle.bits(got)[~touched] == oracle.bits(clean)[~touched]).all(), case


def test_int8_sums_are_exact_or_raise():
    most = 131071  # (2**31 - 1) // (128 * 128)
    A = sc.CSR.from_dense(np.ones((1, 1)))
    for order in ("C", "F"):
        full = np.full((1, most), -128, I8, order=order)
        assert sc.csr_sddmm(A, full, full).tolist() == [most * 128 * 128]
        full = np.full((1, most + 2), -128, I8, order=order)
        with pytest.raises(OverflowError, match="int32"):
            sc.csr_sddmm(A, full, full)
        U, V = np.full((1, most + 30), -128, I8), np.full((1, most + 30), -128, I8)
        V[:, -20:] = 127  # the running sum passes int32 and comes back
        assert sc.csr_sddmm(A, U, V).tolist() == [(most + 10) * 128 * 128 - 20 * 128 * 127]


@pytest.mark.parametrize("dtype", [F16, oracle.BF16], ids=str)
def test_halves_are_summed_in_fp32(dtype):
    """Also across panels: 4096 ones."""
    ones = np.ones((1, 4096), dtype)
    A = sc.CSR.from_dense(np.ones((1, 1)))
    assert (sc.csr_sddmm(A, ones, ones) == 4096).all()


def test_columns_past_2_32_are_refused():
    """Never wrapped to 32 bits: V has 2**32 + 10 rows, of which two are touched."""
    k = 2**32 + 10
    V = cases.reserved((k, 1), np.float32)
    V[k - 1], V[(k - 1) % 2**32] = 7, 100
    A = sc.CSR((np.ones(1, np.float32), [k - 1], [0, 1]), shape=(1, k))
    with pytest.raises(ValueError, match=f"csr_sddmm: A has {k} columns"):
        sc.csr_sddmm(A, np.ones((1, 1), np.float32), V)


def test_shapes_and_dtypes_that_do_not_fit():
    A = sc.CSR.from_dense(np.ones((2, 3), np.float32))
    U, V = np.ones((2, 4), np.float32), np.ones((3, 4), np.float32)
    for arguments, message in (
        ((A, V, V), "csr_sddmm: U has 3 rows, A has 2 rows"),
        ((A, U, U), "csr_sddmm: V has 2 rows, A has 3 columns"),
        ((A, U, V[:, :3]), "csr_sddmm: U has 4 columns, V has 3"),
    ):
        with pytest.raises(ValueError, match=message):
            sc.csr_sddmm(*arguments)
    for arguments, message in (
        ((A, U, V.astype(np.float64)), "csr_sddmm: U is float32, V is float64"),
        ((A, U.astype(np.int32), V.astype(np.int32)), "int32"),
        ((A, U.astype(bool), V.astype(bool)), "bool"),
        ((A, U[None], V), "U has 3 dimensions"),
        ((A, [[1.0] * 4] * 2, V), "csr_sddmm: U is a list"),
        ((A.T, V, U), "csr_sddmm: A is a TransposedCSR"),
        ((A.toarray(), U, V), "csr_sddmm: A is a ndarray"),
    ):
        with pytest.raises(TypeError, match=message):
            sc.csr_sddmm(*arguments)
