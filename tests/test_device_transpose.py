"""The transpose of a matrix on a CUDA device, beside scipy's."""

import numpy as np
import pytest
import scipy.sparse

import sparsecore as sc
from device_format_cases import (
    assert_is,
    back,
    canonical,
    compressed,
    csr_there,
    one_long_row,
    there,
)

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("shape", [(0, 0), (0, 4), (4, 0), (1, 1), (1, 300), (300, 1), (20, 70)])
def test_every_shape(gpu, shape):
    expected = canonical(scipy.sparse.random_array(shape, density=0.3, rng=3))
    A = csr_there((expected.data, expected.indices, expected.indptr), shape, gpu)
    assert_is(A.T.tocsr(), canonical(expected.T))


def test_long_rows_and_columns(gpu):
    arrays = compressed(one_long_row(np.random.default_rng(5)), 9)
    A = csr_there(arrays, (9, 1100), gpu)
    transpose = A.T.tocsr()
    assert_is(transpose, canonical(A.to_scipy().T))
    assert transpose._structure.csr.pieces == 1100
    assert transpose.T.tocsr().equals(A)


@pytest.mark.parametrize("rows", [256, 257])
def test_width_of_columns(gpu, rows):
    indptr = np.minimum(np.arange(rows + 1), 1)
    indptr[-1] = 2
    A = csr_there((np.array([3.0, 4.0]), np.array([1, 0]), indptr), (rows, 2), gpu)
    assert_is(A.T.tocsr(), canonical(A.to_scipy().T))


def test_order_says_where_values_come_from(gpu):
    expected = canonical(scipy.sparse.random_array((13, 17), density=0.4, rng=6))
    A = csr_there((expected.data, expected.indices, expected.indptr), (13, 17), gpu)
    transpose, order = A._structure.transposed()
    assert back(order).dtype == np.int64
    moved = A.data.index_select(0, order)
    assert_is(sc.CSR._wrap(transpose, moved), canonical(expected.T))


def test_made_once(gpu):
    structure = sc.CSR.from_dense(there(np.eye(3), gpu))._structure
    assert structure.transposed() is structure.transposed()


def test_values_that_no_longer_fit_are_refused(gpu):
    A = sc.CSR.from_dense(there(np.eye(3), gpu))
    A.data.data = there(np.ones(2), gpu)
    with pytest.raises(ValueError, match=r"CSR.T.tocsr: data has shape \(2,\), expected \(3,\)"):
        A.T.tocsr()
