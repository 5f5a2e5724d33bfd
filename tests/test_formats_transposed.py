"""The lazy transpose of CSR, and `@` from both sides of either."""

import numpy as np
import pytest
from hypothesis import given

import sparsecore as sc
from format_cases import dense_matrices, lecture
from golden import golden
from oracle import DTYPES, bits


def test_golden_csc_is_the_transposes_csr():
    entry = golden("csc.a")
    A = sc.CSR.from_dense(np.array(entry["input"], dtype=np.float32)).T.tocsr()
    assert A.shape == (4, 3)
    assert A.indptr.tolist() == entry["expected"]["ccol"]
    assert A.indices.tolist() == entry["expected"]["row"]
    assert A.data.tolist() == entry["expected"]["val"]


@given(dense_matrices())
def test_transpose(W):
    A = sc.CSR.from_dense(W)
    assert A.T.T is A
    assert (A.T.shape, A.T.nnz, A.T.dtype, A.T.device) == (W.shape[::-1], A.nnz, W.dtype, "cpu")
    np.testing.assert_array_equal(bits(A.T.toarray()), bits(A.toarray().T))
    transposed = A.T.tocsr()
    transposed.check()
    assert transposed.equals(sc.CSR.from_dense(W.T))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("density", [0.02, 0.1, 0.5, 1])
@pytest.mark.parametrize("shape", [(40, 700), (300, 129), (5, 1000)])
def test_transposes_that_go_by_blocks_of_columns(shape, density, dtype):
    rng = np.random.default_rng([*shape, round(100 * density)])
    W = rng.integers(1, 100, shape) * (rng.random(shape) < density)
    W[3] = 0
    A = sc.CSR.from_dense(W.astype(dtype))
    assert A.T.tocsr().equals(sc.CSR.from_dense(np.ascontiguousarray(W.T).astype(dtype)))


@pytest.mark.parametrize("columns", [None, 1, 5])
def test_operators_on_both_sides(columns):
    A, rng = lecture(), np.random.default_rng(0)
    W = A.toarray()[:3]
    A = A.gather_rows([0, 1, 2])
    right = rng.standard_normal(4 if columns is None else (4, columns))
    left = rng.standard_normal(3 if columns is None else (columns, 3))
    # Sums of at most 4 products in float64, in another order: 4 eps of sums of magnitudes < 100.
    tolerance = 4 * np.finfo(np.float64).eps * 100
    np.testing.assert_allclose(A @ right, W @ right, rtol=0, atol=tolerance)
    np.testing.assert_allclose(left @ A, left @ W, rtol=0, atol=tolerance)
    np.testing.assert_allclose(A.T @ left.T, W.T @ left.T, rtol=0, atol=tolerance)
    np.testing.assert_allclose(right.T @ A.T, right.T @ W.T, rtol=0, atol=tolerance)


def test_operator_with_tensor_on_the_left():
    torch = pytest.importorskip("torch")
    A = lecture(np.float32)
    W, X = torch.from_numpy(A.toarray()), torch.ones(2, 4)
    for left in (X, torch.nn.Parameter(X), X[0]):
        product = left @ A
        assert isinstance(product, torch.Tensor)
        torch.testing.assert_close(product, left @ W)
        torch.testing.assert_close(left @ A.T, left @ W.T)
