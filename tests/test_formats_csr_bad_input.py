"""What CSR refuses, and the place that its error names."""

import numpy as np
import pytest

import sparsecore as sc

# ---- structure ----


@pytest.mark.parametrize(
    ("indptr", "message"),
    [
        ([0, 2], "indptr has 2 entries"),
        ([0, 1, 2, 2, 3], "indptr has 5 entries"),
        ([1, 2, 3, 3], "row 0"),
        ([0, 2, 1, 3], "row 1"),
        ([0, 5, 0, 3], "row 1"),
        ([0, 1, 2, 2], "row 2"),
        ([0, 1, 2, 4], "row 2"),
        ([0, -1, 2, 3], "row 0"),
        ([], "indptr has 0 entries"),
    ],
)
def test_bad_offsets(indptr, message):
    with pytest.raises(ValueError, match=message):
        sc.CSR((np.ones(3), [0, 1, 2], indptr), shape=(3, 4))


@pytest.mark.parametrize("indptr", [[0, 5, 0], [1, 1, 1], [0, 0], [0, 0, 1]])
def test_bad_offsets_without_entries(indptr):
    with pytest.raises(ValueError, match="indptr"):
        sc.CSR((np.ones(0), [], indptr), shape=(2, 4))


@pytest.mark.parametrize("column", [-1, 4, 2**40, -(2**63)])
def test_column_outside(column):
    with pytest.raises(IndexError, match="row 1 at position 2"):
        sc.CSR((np.ones(3), [0, 1, column], [0, 2, 3]), shape=(2, 4))


def test_column_past_int64():
    columns = np.array([0, 2**64 - 1], dtype=np.uint64)
    with pytest.raises(IndexError, match="position 1"):
        sc.CSR((np.ones(2), columns, [0, 2]), shape=(1, 4))


def test_duplicate_column_names_the_row():
    with pytest.raises(ValueError, match="row 1"):
        sc.CSR((np.ones(3), [0, 2, 2], [0, 1, 3]), shape=(2, 4))


def test_unknown_duplicates_policy():
    with pytest.raises(ValueError, match="duplicates"):
        sc.CSR((np.ones(1), [0], [0, 1]), shape=(1, 1), duplicates="keep")


def test_int8_duplicates_that_overflow():
    arrays = np.array([100, 100], dtype=np.int8), [0, 0], [0, 2]
    with pytest.raises(OverflowError, match="200"):
        sc.CSR(arrays, shape=(1, 1), duplicates="sum")


# ---- kinds, lengths, shapes ----


@pytest.mark.parametrize(
    "bad",
    [np.ones(3), np.ones(3, bool), np.array([0, 1, 2], object), ["a", "b", "c"], [[0, 1, 2]]],
    ids=["float", "bool", "object", "text", "2-D"],
)
@pytest.mark.parametrize("place", ["indices", "indptr"])
def test_indices_that_are_no_integers(bad, place):
    arrays = {"data": np.ones(3), "indices": [0, 1, 2], "indptr": [0, 2, 3]} | {place: bad}
    with pytest.raises(TypeError, match=f"CSR: {place}"):
        sc.CSR(tuple(arrays.values()), shape=(2, 4))


@pytest.mark.parametrize(
    "bad",
    [
        np.ones(3, np.int64),
        np.ones(3, np.uint8),
        np.ones(3, bool),
        np.ones(3, complex),
        np.ones(3, object),
        np.ones(3, ">f4"),
        np.ones((3, 1, 1)),
        np.ones((3, 1)),
        np.array(["1", "2", "3"]),
        [1, 2, 3],
    ],
    ids=lambda bad: f"{np.asarray(bad).dtype.str}-{np.ndim(bad)}d",
)
def test_values_of_other_kinds(bad):
    with pytest.raises(TypeError, match="CSR: data"):
        sc.CSR((bad, [0, 1, 2], [0, 2, 3]), shape=(2, 4))


def test_foreign_dtype_error_names_what_is_allowed():
    with pytest.raises(TypeError, match=r"int64.*float64, float32, float16, bfloat16, int8"):
        sc.CSR((np.ones(1, np.int64), [0], [0, 1]), shape=(1, 1))


@pytest.mark.parametrize("bad", [np.ones((2, 2, 2)), np.ones(3), 1.0], ids=["3-D", "1-D", "0-D"])
def test_dense_of_other_rank(bad):
    with pytest.raises(TypeError, match=r"CSR\.from_dense: W has . axes"):
        sc.CSR.from_dense(bad)


@pytest.mark.parametrize("dtype", [np.int64, bool, object, complex, ">f8"])
def test_dense_of_other_dtype(dtype):
    with pytest.raises(TypeError, match="dtype"):
        sc.CSR.from_dense(np.ones((2, 2), dtype))


def test_lengths_that_differ():
    with pytest.raises(ValueError, match="data has length 2, indices 3"):
        sc.CSR((np.ones(2), [0, 1, 2], [0, 2, 3]), shape=(2, 4))


@pytest.mark.parametrize(
    ("shape", "error"),
    [
        ((2,), ValueError),
        ((2, 4, 1), ValueError),
        ((-2, 4), ValueError),
        ((2, 2**63), ValueError),
        ((2.0, 4), TypeError),
        ("24", TypeError),
        (None, TypeError),
    ],
)
def test_bad_shape(shape, error):
    with pytest.raises(error, match="shape"):
        sc.CSR((np.ones(1), [0], [0, 1, 1]), shape=shape)


def test_a_dense_matrix_is_sent_to_from_dense():
    with pytest.raises(TypeError, match="from_dense"):
        sc.CSR(np.ones((4, 4)), shape=(4, 4))


def test_sizes_past_32_bits_do_not_wrap():
    A = sc.CSR(([1.0], [2**40], [0, 0, 1]), shape=(2, 2**62))
    assert A.storage().dense == 2 * 2**62 * 8
    assert A.density == 1 / 2**63
    with pytest.raises(MemoryError, match=rf"CSR\.toarray.*{2**62}\).*{2**66} bytes"):
        A.toarray()
    with pytest.raises(MemoryError, match=f"{2**66} bytes"):
        A.T.toarray()
    with pytest.raises((MemoryError, ValueError)):
        A.T.tocsr()
