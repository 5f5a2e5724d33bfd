"""COO from triplets and dense matrices: order, duplicates, index widths, whose memory it is."""

import copy
import pickle

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import cases
import sparsecore as sc
from format_cases import summed, triplets, unordered
from oracle import DTYPES
from sparsecore.formats import arguments


@given(triplets())
def test_order_and_duplicates_are_kept(arrays):
    data, row, col, shape = arrays
    A = sc.COO((data, (row, col)), shape)
    A.check()
    assert (A.shape, A.nnz, A.dtype) == (shape, len(data), data.dtype)
    for stored, given_array in ((A.data, data), (A.row, row), (A.col, col)):
        np.testing.assert_array_equal(stored, given_array)
        assert not stored.flags.writeable
    np.testing.assert_array_equal(A.toarray().astype(np.float64), summed(*arrays))


def test_values_are_shared_and_indices_private():
    data, row = np.array([1.0, 2.0]), np.array([0, 1], dtype=np.uint8)
    A = sc.COO((data, (row, [0, 1])), shape=(2, 2))
    assert np.shares_memory(A.data, data)
    row[:] = 0
    assert A.row.tolist() == [0, 1]


def test_indices_can_not_be_made_writable():
    A = unordered()
    made = [A, A.T, A.append([1.0], ([0], [0])), A.drop([0]), A.drop([0, 1, 2])]
    made += [A.sum_duplicates(), A.copy(), copy.deepcopy(A), A.tocsr().tocoo(), A.astype("int8")]
    made += [pickle.loads(pickle.dumps(A)), sc.COO.from_scipy(A.to_scipy())]
    for matrix in made:
        for index in (matrix.row, matrix.col, matrix.row[:1]):
            with pytest.raises(ValueError, match="WRITEABLE"):
                index.flags.writeable = True


def test_misaligned_indices_are_copied_to_where_they_are_aligned():
    index = cases.misaligned(np.array([3, 1, 4, 1, 0]))
    assert not index.flags.aligned
    aligned = arguments.as_indices(index, name="index")
    assert aligned.flags.aligned
    assert aligned.flags.c_contiguous
    assert aligned.tolist() == [3, 1, 4, 1, 0]
    A = sc.COO((np.arange(1.0, 6), (index, index)), shape=(5, 5))
    assert A.tocsr().data.tolist() == [5, 6, 1, 3]


@pytest.mark.parametrize(
    ("size", "width"),
    [
        (1, np.uint8),
        (256, np.uint8),
        (257, np.uint16),
        (65536, np.uint16),
        (65537, np.uint32),
        (2**32, np.uint32),
        (2**32 + 1, np.uint64),
    ],
)
def test_index_widths(size, width):
    A = sc.COO(([1.0, 2.0], ([0, size - 1], [0, 1])), shape=(size, 3))
    assert (A.row.dtype, A.col.dtype) == (width, np.uint8)
    assert (A.T.row.dtype, A.T.col.dtype) == (np.uint8, width)
    assert A.row.tolist() == [0, size - 1]
    assert A.nbytes == A.storage().total == 2 * (8 + A.row.itemsize + 1)
    # Editing needs no memory for rows that hold nothing.
    assert A.append([3.0], ([size - 1], [1])).sum_duplicates().data.tolist() == [1, 5]


@pytest.mark.parametrize("size", [1, 200, 256, 300, 65536, 70_000, 2**31])
def test_int32_indices(size):
    """They are read as they are."""
    rng = np.random.default_rng(size)
    row, col = (rng.integers(0, size, 1000, dtype=np.int32) for _ in range(2))
    row[0], col[0] = size - 1, 0
    A = sc.COO((np.ones(1000), (row, col)), (size, size))
    assert A.equals(sc.COO((np.ones(1000), (row.astype(np.int64), col)), (size, size)))
    np.testing.assert_array_equal(A.row, row)
    sliced = sc.COO((np.ones(500), (row[::2], col[::2])), (size, size))
    np.testing.assert_array_equal(sliced.row, row[::2])
    for position in (0, 255, 256, 999):
        for index in {-1, -(2**31), min(size, 2**31 - 1)} - {size - 1}:
            wrong = row.copy()
            wrong[position] = index
            with pytest.raises(IndexError, match=f"row index {index} at position {position} is"):
                sc.COO((np.ones(1000), (wrong, col)), (size, size))


@settings(max_examples=25)
@given(st.sampled_from([(3, 257), (2, 70000), (70000, 2), (300, 300)]), st.data())
def test_dense_round_trip_in_wider_indices(shape, data):
    dtype = data.draw(st.sampled_from(DTYPES))
    seed = data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    W = rng.integers(-3, 4, shape) * (rng.random(shape) < 0.1)
    A = sc.COO.from_dense(W.astype(dtype))
    np.testing.assert_array_equal(A.toarray(), W)
    assert A.nnz == np.count_nonzero(W)
    assert A.storage().total == A.nbytes


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0), (3, 4)])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_empty_matrices(shape, dtype):
    A = sc.COO((np.zeros(0, dtype), ([], [])), shape=shape)
    assert (A.nnz, A.density, A.nbytes) == (0, 0.0, 0)
    assert A.toarray().shape == shape
    assert A.sum_duplicates().equals(A)
    assert A.tocsr().tocoo().equals(A)
    assert A.allclose(A.append([], ([], [])))
    assert A.drop([]).equals(A)
