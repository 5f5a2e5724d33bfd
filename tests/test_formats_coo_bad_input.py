"""What COO refuses, and the place that its error names."""

import numpy as np
import pytest

import sparsecore as sc


@pytest.mark.parametrize(
    ("row", "col", "message"),
    [
        ([0, 2], [0, 0], "row index 2 at position 1"),
        ([0, -1], [0, 0], "row index -1 at position 1"),
        ([0, 1], [3, 0], "column index 3 at position 0"),
        ([0, 1], [0, -(2**63)], "column index -9223372036854775808 at position 1"),
    ],
)
def test_index_outside(row, col, message):
    with pytest.raises(IndexError, match=message):
        sc.COO((np.ones(2), (row, col)), shape=(2, 3))


def test_index_past_int64():
    with pytest.raises(IndexError, match="position 0"):
        sc.COO((np.ones(1), (np.array([2**63], np.uint64), [0])), shape=(2, 3))


@pytest.mark.parametrize(
    "bad",
    [np.zeros(2), np.zeros(2, bool), np.zeros(2, object), ["0", "1"], np.zeros((2, 1, 1), int)],
    ids=["float", "bool", "object", "text", "3-D"],
)
def test_indices_that_are_no_integers(bad):
    with pytest.raises(TypeError, match="COO: row"):
        sc.COO((np.ones(2), (bad, [0, 0])), shape=(2, 3))
    with pytest.raises(TypeError, match="COO: col"):
        sc.COO((np.ones(2), ([0, 0], bad)), shape=(2, 3))


@pytest.mark.parametrize(
    "bad",
    [np.ones(2, int), np.ones(2, bool), np.ones(2, object), np.ones(2, ">f8"), np.ones((2, 1, 1))],
    ids=["int64", "bool", "object", "byte order", "3-D"],
)
def test_values_of_other_kinds(bad):
    with pytest.raises(TypeError, match="COO: data"):
        sc.COO((bad, ([0, 1], [0, 0])), shape=(2, 3))


def test_lengths_that_differ():
    with pytest.raises(ValueError, match="lengths 2, 1, 2"):
        sc.COO((np.ones(2), ([0], [0, 0])), shape=(2, 3))


@pytest.mark.parametrize("bad", [1.0, (np.ones(1),), (np.ones(1), [0]), np.ones((4, 4))])
def test_not_triplets(bad):
    with pytest.raises(TypeError, match="COO"):
        sc.COO(bad, shape=(2, 3))


@pytest.mark.parametrize(
    ("shape", "error"),
    [((2,), ValueError), ((-1, 3), ValueError), ((2, 2**63), ValueError), ((2.5, 3), TypeError)],
)
def test_bad_shape(shape, error):
    with pytest.raises(error, match="shape"):
        sc.COO((np.ones(1), ([0], [0])), shape=shape)


@pytest.mark.parametrize("shape", [(1, 2**62), (2**62, 1), (0, 2**62)])
def test_dense_past_the_address_space(shape):
    A = sc.COO((np.zeros(0), ([], [])), shape=shape)
    with pytest.raises(MemoryError, match=rf"COO\.toarray.*{shape[1]}\).*{2**65} bytes"):
        A.toarray()
