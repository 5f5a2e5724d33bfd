"""CSR from dense matrices and from arrays: canonical form, index widths, whose memory it is."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import cases
import sparsecore as sc
from format_cases import (
    EXAMPLES_SHARE_FIXTURES,
    LECTURE,
    ON_EACH_TARGET,
    csr_arrays,
    dense_matrices,
    lecture,
    summed,
)
from golden import golden
from oracle import DTYPES, bits

# ---- from dense matrices, and back ----


def test_lecture_example():
    A = lecture()
    assert A.data.tolist() == [3, 7, 8, 2, 5, 9]
    assert A.indices.tolist() == [1, 3, 2, 0, 1, 3]
    assert A.indptr.tolist() == [0, 2, 3, 5, 6]


def test_golden_csr():
    entry = golden("csr.a")
    A = sc.CSR.from_dense(np.array(entry["input"], dtype=np.float32))
    assert A.indptr.tolist() == entry["expected"]["crow"]
    assert A.indices.tolist() == entry["expected"]["col"]
    assert A.data.tolist() == entry["expected"]["val"]


@ON_EACH_TARGET
@EXAMPLES_SHARE_FIXTURES
@given(dense_matrices())
def test_dense_round_trip_is_exact(W):
    A = sc.CSR.from_dense(W)
    A.check()
    assert A.shape == W.shape
    assert A.dtype == W.dtype
    assert A.nnz == np.count_nonzero(W != 0)
    expected = np.where(W == 0, W.dtype.type(0), W)  # -0.0 is a zero; NaN is none
    np.testing.assert_array_equal(bits(A.toarray()), bits(expected))


@given(dense_matrices())
def test_dense_to_coo_and_back(W):
    A = sc.CSR.from_dense(W)
    coo = A.tocoo()
    assert (coo.row.dtype, coo.col.dtype) == (
        np.min_scalar_type(max(W.shape[0] - 1, 0)),
        np.min_scalar_type(max(W.shape[1] - 1, 0)),
    )
    assert coo.tocsr("error").equals(A)


# ---- the narrowest indices that hold ----


@ON_EACH_TARGET
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("shape", "width"),
    [
        ((3, 0), np.uint8),
        ((3, 1), np.uint8),
        ((3, 256), np.uint8),
        ((3, 257), np.uint16),
        ((2, 65536), np.uint16),
        ((2, 65537), np.uint32),
        ((2, 70000), np.uint32),
    ],
)
def test_column_width_and_round_trip(shape, width, dtype):
    W = np.zeros(shape, dtype)
    if shape[1]:
        W[0, -1], W[1, 0], W[1, shape[1] // 2] = 1, 2, 3
    A = sc.CSR.from_dense(W)
    assert A.indices.dtype == width
    np.testing.assert_array_equal(bits(A.toarray()), bits(W))
    assert A.nbytes == A.data.nbytes + A.indices.nbytes + A.indptr.nbytes
    assert A.storage().total == A.nbytes


def test_column_width_past_32_bits():
    A = sc.CSR((np.array([1.0, 2.0]), [5, 2**32], [0, 2]), shape=(1, 2**32 + 1))
    assert A.indices.dtype == np.uint64
    assert A.indices.tolist() == [5, 2**32]
    assert sc.CSR(([1.0], [2**32 - 1], [0, 1]), shape=(1, 2**32)).indices.dtype == np.uint32


@pytest.mark.parametrize(
    ("nnz", "width"),
    [
        (0, np.uint8),
        (255, np.uint8),
        (256, np.uint16),
        (65535, np.uint16),
        (65536, np.uint32),
    ],
)
def test_offset_width_and_round_trip(nnz, width):
    W = np.zeros(2 * 40000, np.int8)
    W[np.random.default_rng(nnz).permutation(W.size)[:nnz]] = 7
    W = W.reshape(2, 40000)
    A = sc.CSR.from_dense(W)
    assert A.indptr.dtype == width
    assert A.indptr[-1] == nnz
    np.testing.assert_array_equal(A.toarray(), W)
    assert A.storage().total == A.nbytes


# ---- from arrays ----


@given(csr_arrays(), st.sampled_from(DTYPES), st.sampled_from([np.int32, np.uint64, np.int8]))
def test_unsorted_rows_with_duplicates_are_summed_in_a_copy(arrays, dtype, index_dtype):
    data, indices, indptr, shape = arrays
    data, indices, indptr = data.astype(dtype), indices.astype(index_dtype), indptr.astype("i4")
    before = data.copy(), indices.copy(), indptr.copy()
    A = sc.CSR((data, indices, indptr), shape, duplicates="sum")
    row = np.repeat(np.arange(shape[0]), np.diff(indptr))
    expected = summed(data, row, indices.astype(np.int64), shape)
    # Sums of at most 12 integers up to 9 are exact in every dtype.
    np.testing.assert_array_equal(A.toarray().astype(np.float64), expected)
    A.check()
    for array, original in zip((data, indices, indptr), before, strict=True):
        np.testing.assert_array_equal(array, original)


@pytest.mark.parametrize("duplicates", ["error", "sum"])
def test_sorting_moves_the_values_along(duplicates):
    arrays = np.array([1.0, 2, 3]), [3, 0, 1], [0, 2, 3]
    A = sc.CSR(arrays, shape=(2, 4), duplicates=duplicates)
    assert A.indices.tolist() == [0, 3, 1]
    assert A.data.tolist() == [2, 1, 3]


def test_sorted_values_are_shared_and_read_only():
    data = np.array([1.0, 2, 3])
    A = sc.CSR((data, [0, 3, 1], [0, 2, 3]), shape=(2, 4))
    assert np.shares_memory(A.data, data)
    for view in (A.data, A.indices, A.indptr):
        with pytest.raises(ValueError, match="read-only"):
            view[0] = 1
    data[0] = 10  # the caller's array stays writable, and its values are the matrix's
    assert A.toarray()[0, 0] == 10


def test_indices_are_private():
    indices = np.array([0, 3, 1], dtype=np.uint8)
    A = sc.CSR((np.ones(3), indices, [0, 2, 3]), shape=(2, 4))
    indices[:] = 2
    assert A.indices.tolist() == [0, 3, 1]


def test_non_contiguous_misaligned_and_read_only_arrays_work():
    values = np.array([1.0, 3, 5])
    expected = sc.CSR(([1.0, 3, 5], [0, 3, 1], [0, 2, 3]), shape=(2, 4))
    for layout in ("strided", "misaligned", "negative", "read-only"):
        data = cases.laid_out(values, layout)
        indices, indptr = np.array([0, 9, 3, 9, 1])[::2], np.array([3, 2, 0])[::-1]
        assert sc.CSR((data, indices, indptr), shape=(2, 4)).equals(expected)
    table = np.frombuffer(b"x" + LECTURE.tobytes(), dtype=np.float64, offset=1).reshape(4, 4)
    assert sc.CSR.from_dense(table).equals(lecture())


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0), (3, 4)])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_empty_matrices(shape, dtype):
    A = sc.CSR((np.zeros(0, dtype), [], np.zeros(shape[0] + 1, int)), shape=shape)
    A.check()
    assert (A.nnz, A.density, A.sparsity) == (0, 0.0, 1.0)
    assert A.toarray().shape == shape
    assert A.T.tocsr().shape == shape[::-1]
    assert A.equals(sc.CSR.from_dense(np.zeros(shape, dtype)))
    assert A.indices.dtype == (np.uint8)
    assert A.storage().total == A.nbytes
    assert A.tocoo().tocsr().equals(A)
