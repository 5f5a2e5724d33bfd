"""Editing COO: append and drop entries, sum duplicates, transpose; the matrix itself stays."""

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import sparsecore as sc
from format_cases import triplets, unordered


@given(triplets(), st.data())
def test_append_and_drop_against_lists(arrays, data):
    values, row, col, shape = arrays
    cut = data.draw(st.integers(0, len(values)))
    A = sc.COO((values[:cut], (row[:cut], col[:cut])), shape)
    A = A.append(values[cut:], (row[cut:], col[cut:]))
    assert A.equals(sc.COO((values, (row, col)), shape))
    mask = data.draw(hnp.arrays(bool, len(values)))
    expected = sc.COO((values[~mask], (row[~mask], col[~mask])), shape)
    assert A.drop(mask).equals(expected)
    assert A.drop(np.flatnonzero(mask)).equals(expected)
    assert A.drop(np.flatnonzero(mask) - len(values)).equals(expected)


def test_edits_leave_the_matrix_as_it_was():
    A = unordered()
    A.append([9.0], ([0], [0]))
    A.drop([0])
    A.sum_duplicates()
    assert A.equals(unordered())


def test_append_takes_sequences_in_its_own_dtype():
    assert unordered(np.float16).append([0.5], ([0], [0])).dtype == np.float16


def test_append_refuses_other_dtypes_and_places():
    with pytest.raises(TypeError, match=r"float32.*float64"):
        unordered().append(np.ones(1, np.float32), ([0], [0]))
    with pytest.raises(IndexError, match="row index 2 at position 0"):
        unordered().append([1.0], ([2], [0]))
    with pytest.raises(ValueError, match="lengths 1, 2, 2"):
        unordered().append([1.0], ([0, 1], [0, 1]))


def test_drop_refuses_what_is_not_there():
    for position in (3, -4):
        with pytest.raises(IndexError, match=f"{position} at position 1"):
            unordered().drop([0, position])
    with pytest.raises(ValueError, match="mask"):
        unordered().drop(np.ones(2, bool))
    with pytest.raises(TypeError, match="float64"):
        unordered().drop(np.zeros(1))


def test_tensors_are_edited_with_tensors():
    torch = pytest.importorskip("torch")
    A = unordered(np.float32)
    tensors = sc.COO((torch.ones(3), ([1, 0, 1], [2, 3, 2])), shape=(2, 4))
    with pytest.raises(TypeError, match=r"torch\.float32.*numpy float32"):
        A.append(torch.ones(1), ([0], [0]))
    with pytest.raises(TypeError, match=r"numpy float32.*torch\.float32"):
        tensors.append(np.ones(1, np.float32), ([0], [0]))
    assert tensors.append([5.0], ([0], [0])).data.tolist() == [1, 1, 1, 5]
    assert tensors.drop(tensors.data > 0).nnz == 0


def test_transpose():
    A = unordered()
    np.testing.assert_array_equal(A.T.toarray(), A.toarray().T)
    assert A.T.T.equals(A)
