"""fp16 and bf16 in and out of products: every number read, every rounding written.

numpy's and ml_dtypes' own conversions are the oracle (round to nearest, ties to even).
"""

import ml_dtypes
import numpy as np
import pytest

import cases
import oracle
import sparsecore as sc
from oracle import BF16, F16, F32

pytestmark = [
    pytest.mark.usefixtures("target"),
    # Signalling NaN are among all bit patterns; numpy warns when the oracle touches one.
    pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning"),
]

HALVES = [F16, BF16]


def every_number(dtype):
    """Return all 65536 bit patterns."""
    return np.arange(65536, dtype=np.uint16).view(dtype)


def same(got, want):
    """Return whether two arrays have equal bits, any NaN for any NaN."""
    both_nan = np.isnan(got) & np.isnan(want)
    return bool(((oracle.bits(got) == oracle.bits(want)) | both_nan).all())


def summed(numbers):
    """Return numbers as a sum that starts at 0.0 holds them: -0.0 becomes 0.0."""
    bits = numbers.view(np.uint16)
    return np.where(bits == 0x8000, np.uint16(0), bits).view(numbers.dtype)


def rounded(exact, dtype):
    """Return float64 numbers rounded to fp32, then to `dtype`, as the kernels must."""
    with np.errstate(over="ignore"):
        return exact.astype(F32).astype(dtype)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_every_number_survives_a_product_with_one(dtype):
    """As X, in each memory order and width of right side; -0.0 becomes 0.0 in the sum."""
    numbers = every_number(dtype)
    want = summed(numbers)
    A = sc.CSR.from_dense(np.ones((1, 1), dtype))
    for shape in ((1, 65536), (1, 65535)):
        X = numbers[: shape[1]].reshape(shape)
        for layout in ("C", "F", "strided", "negative"):
            got = sc.csr_matmul(A, cases.laid_out(X, layout))
            assert same(got, want[: shape[1]].reshape(shape)), f"{shape}, {layout}"


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_every_number_survives_as_a_value(dtype):
    numbers = every_number(dtype)
    A = sc.CSR((numbers, np.zeros(65536, int), np.arange(65537)), shape=(65536, 1))
    for n in (1, 2, 17):
        assert same(sc.csr_matmul(A, np.ones((1, n), dtype))[:, -1], summed(numbers)), f"n={n}"
        wide = sc.csr_matmul(A, np.ones((1, n), F32))[:, -1]
        assert same(wide, summed(numbers).astype(F32)), f"fp32 X, n={n}"


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_rounding_to_nearest_ties_to_even(dtype):
    """H + f * ulp for every number h and fractions on both sides of a tie."""
    numbers = every_number(dtype)
    numbers = numbers[(numbers > 0) & np.isfinite(numbers)]
    info = ml_dtypes.finfo(dtype)
    exponent = np.floor(np.log2(numbers.astype(np.float64)))
    ulp = 2.0 ** np.maximum(exponent, np.log2(float(info.smallest_normal))) * float(info.eps)
    # The small part has to come as a product of two halves: (1024 ulp) * (fraction / 1024).
    with np.errstate(over="ignore"):
        large = (ulp * 1024).astype(dtype)
    usable = np.isfinite(large)
    X = np.stack([numbers[usable], large[usable]])
    for fraction in (0.25, 0.5, 0.75, -0.25):
        A = sc.CSR.from_dense(np.array([[1.0, fraction / 1024]]).astype(dtype))
        want = rounded(X[0].astype(np.float64) + fraction * ulp[usable], dtype)
        for layout in ("C", "F", "strided"):
            got = sc.csr_matmul(A, cases.laid_out(X, layout))
            assert same(got[0], want), f"{fraction} ulp, {layout}"


def test_fp16_overflow_subnormals_and_nan():
    """Around the largest number, 65504, and the smallest, 2**-24, in each width of right side."""
    pairs = [
        (65504, 8, 65504),
        (65504, 15, 65504),  # 65519
        (65504, 16, np.inf),  # 65520: the tie goes up
        (65504, 65504, np.inf),
        (-65504, -16, -np.inf),
        (2.0**-24, 2.0**-24, 2.0**-23),
        (2.0**-14, -(2.0**-24), 2.0**-14 - 2.0**-24),
        (np.inf, 1, np.inf),
        (np.inf, -np.inf, np.nan),
        (np.nan, 1, np.nan),
    ]
    A = sc.CSR.from_dense(np.ones((1, 2), F16))
    X = np.array([[a, b] for a, b, _ in pairs], F16).T
    want = np.array([[c for _, _, c in pairs]], F16)
    for copies in (1, 2, 5):
        for layout in ("C", "F", "strided"):
            got = sc.csr_matmul(A, cases.laid_out(np.tile(X, copies), layout))
            assert same(got, np.tile(want, copies)), f"{copies} copies, {layout}"
    half = sc.CSR.from_dense(np.full((1, 1), 0.5, F16))
    below = sc.csr_matmul(half, np.array([[2.0**-24, 3 * 2.0**-24, -(2.0**-24)]], F16))
    assert same(below, np.array([[0.0, 2 * 2.0**-24, -0.0]], F16)), "ties of subnormals to even"


def test_bf16_overflow_and_nan():
    largest = float(ml_dtypes.finfo(BF16).max)
    A = sc.CSR.from_dense(np.ones((1, 2), BF16))
    X = np.array([[largest, largest, -largest, np.nan], [1, largest, -largest, 1]], BF16)
    want = np.array([[largest, np.inf, -np.inf, np.nan]], BF16)
    assert same(sc.csr_matmul(A, X), want)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_subnormals_are_not_flushed(dtype):
    smallest = dtype.type(float(ml_dtypes.finfo(dtype).smallest_subnormal))
    A = sc.CSR.from_dense(np.ones((1, 3), dtype))
    for n in (1, 2, 16, 17):
        Y = sc.csr_matmul(A, np.full((3, n), smallest))
        assert (Y.astype(np.float64) == 3 * float(smallest)).all()


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_nan_of_every_payload_stays_nan(dtype):
    """Rounding must not carry a NaN's low bits into its exponent, nor drop them to infinity."""
    payloads = np.array([0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001, 0xFF800001, 0x7FC00000], np.uint32)
    A = sc.CSR.from_dense(np.ones((5, 1), dtype))
    for rows in (1, 16, 17):
        Y = sc.linear(np.ones((rows, 1), dtype), A, payloads.view(np.float32))
        assert np.isnan(Y).all(), f"{rows} rows"
