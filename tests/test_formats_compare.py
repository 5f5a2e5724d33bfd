"""Equality and closeness of matrices of every format."""

import numpy as np
from hypothesis import given

import sparsecore as sc
from format_cases import dense_matrices, lecture, two_groups, two_groups_24, unordered
from oracle import F32, F64


@given(dense_matrices())
def test_csr_equality(W):
    A = sc.CSR.from_dense(W)
    assert A.equals(sc.CSR.from_dense(W.copy()))  # NaN equals NaN here
    assert A.allclose(A.copy(), equal_nan=True)
    assert not A.equals(W)
    other = F64 if W.dtype != F64 else F32
    with np.errstate(all="ignore"):
        assert not A.equals(A.astype(other))
    if A.nnz:
        changed = A.data.copy()
        changed[-1] = 3
        assert not A.equals(A.with_data(changed))
        assert not A.allclose(A.with_data(changed), equal_nan=True)


def test_csr_closeness_looks_at_the_matrix_and_not_at_the_structure():
    A = lecture()
    extra = sc.CSR(([3.0, 7, 0, 8, 2, 5, 9], [1, 3, 0, 2, 0, 1, 3], [0, 2, 4, 6, 7]), shape=(4, 4))
    assert not A.equals(extra)
    assert not A.same_structure(extra)
    assert A.allclose(extra)
    assert A.allclose(extra.with_data(extra.data * (1 + 5e-6)))
    assert not A.allclose(extra.with_data(extra.data * (1 + 5e-6)), rtol=1e-6)
    assert not A.allclose(extra.with_data(extra.data + 1e-3))
    assert not A.allclose(A.gather_rows([0, 1, 2]))
    assert A.allclose(A.astype(np.float16))


def test_coo_equality_minds_the_order_and_closeness_does_not():
    A = unordered()
    turned = sc.COO((np.array([4.0, 2, 1]), ([1, 0, 1], [2, 3, 2])), shape=(2, 4))
    assert not A.equals(turned)
    assert A.allclose(turned)
    assert A.allclose(A.sum_duplicates())
    assert A.allclose(A.append([0.0], ([0], [0])))
    assert not A.allclose(A.append([1.0], ([0], [0])))
    assert not A.allclose(A.T)
    assert not A.equals(A.astype(np.float32))
    assert A.allclose(A.astype(np.float32))
    assert not A.equals(None)
    nan = sc.COO(([np.nan], ([0], [0])), shape=(1, 1))
    assert nan.equals(nan.copy())
    assert not nan.allclose(nan)
    assert nan.allclose(nan, equal_nan=True)


def test_sparse24_closeness():
    S = two_groups_24()
    assert S.allclose(sc.Sparse24.from_dense(two_groups() * np.float32(1 + 5e-6)))
    assert not S.allclose(sc.Sparse24.from_dense(two_groups() * np.float32(1 + 5e-5)))
    assert not S.allclose(sc.Sparse24.from_dense(two_groups()[:, ::-1]))
    assert not S.allclose(sc.Sparse24.from_dense(two_groups()[:1]))
    assert not S.equals(None)
