"""Entries of COO at one coordinate: summed without loss, or refused."""

import numpy as np
import pytest
from hypothesis import given

import sparsecore as sc
from format_cases import summed, triplets, unordered
from oracle import BF16, F16


@given(triplets())
def test_to_csr_against_float64_sums(arrays):
    data, row, col, shape = arrays
    A = sc.COO((data, (row, col)), shape).tocsr()
    A.check()
    assert A.dtype == data.dtype
    np.testing.assert_array_equal(A.toarray().astype(np.float64), summed(*arrays))
    # A coordinate whose sum is zero stays stored: only its owner knows whether it is structure.
    assert A.nnz == len(set(zip(row.tolist(), col.tolist(), strict=True)))


@given(triplets())
def test_sum_duplicates_is_canonical(arrays):
    data, row, col, shape = arrays
    A = sc.COO((data, (row, col)), shape)
    canonical = A.sum_duplicates()
    assert canonical.equals(A.tocsr().tocoo())
    assert canonical.sum_duplicates().equals(canonical)
    assert canonical.tocsr("error").equals(A.tocsr())


@pytest.mark.parametrize("dtype", [F16, BF16], ids=str)
def test_half_precision_duplicates_are_summed_in_fp32(dtype):
    # In fp16 itself 2048 + 1 is 2048 again (bf16: from 256 on); in fp32 the ones add up.
    data = np.ones(4097, dtype)
    data[0] = 2048
    position = np.zeros(4097, int), np.zeros(4097, int)
    A = sc.COO((data, position), shape=(1, 1))
    assert float(A.tocsr().data[0]) == float(A.sum_duplicates().data[0]) == 2048 + 4096


def test_int8_duplicates_that_overflow():
    data = np.array([100, 27, 1], np.int8)
    A = sc.COO((data, ([0, 0, 0], [1, 1, 1])), shape=(1, 2))
    for convert in (A.tocsr, A.sum_duplicates, A.toarray):
        with pytest.raises(OverflowError, match="128"):
            convert()
    assert A.drop([2]).tocsr().data.tolist() == [127]


def test_duplicates_can_be_refused():
    with pytest.raises(ValueError, match="row 1"):
        unordered().tocsr("error")
    with pytest.raises(ValueError, match="duplicates"):
        unordered().tocsr("keep")
