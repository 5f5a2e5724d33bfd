"""csr_matmul with a CSR and with a Plan: csrc/plans/row_sweep.cpp, csrc/cpu/row_sweep.h."""

import numpy as np
import pytest
import scipy.sparse

import cases
import oracle
import product_cases as products
import sparsecore as sc
from cases import SAME
from oracle import BF16, DTYPES, F16, F32, F64, I8
from sparsecore import _core

pytestmark = pytest.mark.usefixtures("target")


@products.CSR_CHECKS
def test_products(check, arguments):
    check(cases.csr, *arguments)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("columns", [200, 60_000, 70_000])
def test_one_column_by_either_way_to_gather(dtype, columns):
    """Rows of up to 40 entries, columns of one, two and four bytes; the bits are the same."""
    rng = np.random.default_rng(16)
    lengths = np.array([*range(41), 40, 3])
    indices = [np.sort(rng.choice(columns, n, replace=False)) for n in lengths]
    indptr = np.concatenate([[0], lengths.cumsum()])
    data = cases.numbers(rng, indptr[-1], dtype)
    A = sc.CSR((data, np.concatenate(indices), indptr), shape=(len(lengths), columns))
    used = np.unique(A.indices)
    x = np.full(columns, 100 if dtype == I8 else np.nan).astype(dtype)
    x[used] = cases.numbers(rng, len(used), dtype)
    W = A.toarray()[:, used]
    want = oracle.product(W, W != 0, x[used, None], oracle.result_dtype(dtype, dtype))
    bits = []
    try:
        for way in (False, True):
            _core.tune_as_amd(way)
            y = A @ x
            oracle.check(y[:, None], want, f"single loads: {way}")
            bits.append(oracle.bits(y))
    finally:
        _core.tune_as_amd(None)
    np.testing.assert_array_equal(*bits)


@pytest.mark.parametrize("mix", SAME, ids=str)
def test_plan_shapes_and_layouts(mix):
    products.check_shapes_and_layouts(cases.plan, mix)


@pytest.mark.parametrize("dtype", [F64, F32, F16, BF16], ids=str)
def test_stored_zeros_multiply_as_ieee_says(dtype):
    zeros = np.array([0.0, -0.0, 1.0], dtype)
    A = sc.CSR((zeros, [0, 1, 2], [0, 1, 2, 3]), shape=(3, 3))
    for n in (1, 2, 20):
        X = np.array([[np.nan], [np.inf], [5.0]]).repeat(n, axis=1).astype(dtype)
        Y = sc.csr_matmul(A, X)
        assert np.isnan(Y[:2].astype(np.float64)).all()
        assert (Y[2] == 5).all()


def test_scipy_matrices_as_a():
    """Every format, unsorted and with duplicates; the caller's arrays stay as they are."""
    rng = np.random.default_rng(5)
    W, X = cases.random_dense(rng, (12, 9), 0.4, F64), cases.numbers(rng, (9, 4), F64)
    for kind in ("csr", "csc", "coo", "bsr", "lil", "dok", "dia"):
        for matrix in (scipy.sparse.csr_array(W), scipy.sparse.csr_matrix(W)):
            Y = sc.csr_matmul(matrix.asformat(kind), X)
            np.testing.assert_allclose(Y, W @ X, rtol=1e-12, atol=1e-12, err_msg=kind)
    arrays = np.array([1.0, 2, 4, 8]), np.array([2, 0, 2, 1]), np.array([0, 3, 4])
    messy = scipy.sparse.csr_array(arrays, shape=(2, 3))
    assert sc.csr_matmul(messy, np.array([1.0, 10, 100])).tolist() == [502, 80]
    assert arrays[1].tolist() == messy.indices.tolist() == [2, 0, 2, 1]
    with pytest.raises(TypeError, match="int64"):
        sc.csr_matmul(scipy.sparse.csr_array(np.eye(3, dtype=int)), np.ones(3))


def test_lecture_row():
    """(3, 0, 4, 0, 2, 0, 1) times (2, 1, 5, x, 4, 1, 3) is 37, whatever x."""
    A = sc.CSR.from_dense(np.array([[3.0, 0, 4, 0, 2, 0, 1]]))
    for x in (0.0, 1e308, -1e308, np.inf, np.nan):
        assert sc.csr_matmul(A, np.array([2, 1, 5, x, 4, 1, 3])).tolist() == [37.0]


@pytest.mark.parametrize("dtype", [F16, BF16], ids=str)
def test_halves_are_summed_in_fp32(dtype):
    """4096 ones: an fp16 sum stops at 2048, a bf16 sum at 256."""
    for make in (cases.csr, cases.transposed, cases.sparse24):
        k = 8192 if make is cases.sparse24 else 4096
        operand = make(np.ones((1, k), dtype))
        for n in (1, 2, 16):
            Y = cases.multiply(operand.matrix, np.ones((k, n), dtype))
            assert (Y == 4096).all(), f"{make.__name__}, n={n}: {Y[0, 0]}"


def test_fp64_is_summed_in_fp64():
    """1 + 2**-40 + ... is lost in fp32."""
    A = sc.CSR.from_dense(np.full((1, 64), 2.0**-40) + np.eye(1, 64))
    for n in (1, 3, 9):
        assert (sc.csr_matmul(A, np.ones((64, n))) == 1 + 64 * 2.0**-40).all()


def test_real_network_patterns(dlmc_patterns):
    rng = np.random.default_rng(6)
    for path in dlmc_patterns:
        pattern = sc.load(path)
        A = pattern.with_data(cases.numbers(rng, pattern.nnz, F32))
        W = A.toarray().astype(np.float64)
        for matrix, dense in ((A, W), (A.T, W.T)):
            for n in (1, 5, 40):
                X = cases.numbers(rng, (dense.shape[1], n), F32)
                want = oracle.product(dense, dense != 0, X, F32)
                oracle.check(sc.csr_matmul(matrix, X), want, f"{path.name}, n={n}")
