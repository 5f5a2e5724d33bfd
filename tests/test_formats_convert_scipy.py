"""COO and CSR from scipy's matrices and to them."""

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given

import sparsecore as sc
from format_cases import LECTURE, csr_arrays, lecture, summed, triplets, unordered
from oracle import BF16, F16


@given(csr_arrays(), st.sampled_from(["csr", "csc", "coo", "bsr", "lil"]))
def test_csr_from_every_format(arrays, name):
    data, indices, indptr, shape = arrays
    source = scipy.sparse.csr_array((data, indices, indptr), shape=shape)
    expected = source.toarray()
    matrix = source.copy().asformat(name)
    A = sc.CSR.from_scipy(matrix)
    A.check()
    np.testing.assert_array_equal(A.toarray(), expected)
    np.testing.assert_array_equal(matrix.toarray(), expected)  # scipy's matrix is as it was


def test_csr_from_old_matrix_class_and_private_values():
    source = scipy.sparse.csr_matrix(LECTURE)
    A = sc.CSR.from_scipy(source)
    source.data[:] = 0
    assert A.equals(lecture())


@pytest.mark.parametrize("name", ["csr", "csc"])
def test_csr_from_arrays_with_room_behind_the_last_entry(name):
    matrix = scipy.sparse.csr_array(LECTURE).asformat(name)
    matrix.data = np.append(matrix.data, [5.0, 6.0])
    matrix.indices = np.append(matrix.indices, [99, -1]).astype(np.int32)
    assert sc.CSR.from_scipy(matrix).equals(lecture())


@pytest.mark.parametrize("name", ["coo", "csr", "csc"])
def test_csr_sums_int8_duplicates_or_refuses(name):
    data = np.array([100, 27, 1], np.int8)
    for kept in (2, 3):
        zeros = np.zeros(kept, int)
        parts = (zeros, zeros) if name == "coo" else (zeros, [0, kept])
        arrays = (data[:kept], parts) if name == "coo" else (data[:kept], *parts)
        matrix = getattr(scipy.sparse, f"{name}_array")(arrays, shape=(1, 1))
        if kept == 2:
            assert sc.CSR.from_scipy(matrix).data.tolist() == [127]
            continue
        with pytest.raises(OverflowError, match="128"):
            sc.CSR.from_scipy(matrix)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int8])
def test_csr_to_scipy(dtype):
    A = lecture(dtype)
    matrix = A.to_scipy()
    assert isinstance(matrix, scipy.sparse.csr_array)
    assert matrix.dtype == dtype
    assert matrix.indices.dtype == matrix.indptr.dtype == np.int32
    matrix.check_format(full_check=True)
    np.testing.assert_array_equal(matrix.toarray(), LECTURE)
    matrix.data[:] = 0
    assert A.equals(lecture(dtype))


@pytest.mark.parametrize("dtype", [F16, BF16], ids=str)
def test_csr_of_half_precision_is_refused(dtype):
    with pytest.raises(TypeError, match="float32"):
        lecture(dtype).to_scipy()


def test_csr_to_scipy_with_wide_indices():
    A = sc.CSR(([1.0], [2**31], [0, 1]), shape=(1, 2**31 + 1))
    matrix = A.to_scipy()
    assert matrix.indices.dtype == np.int64
    assert matrix.indices.tolist() == [2**31]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (LECTURE, r"is a numpy\.ndarray, expected a 2-D scipy\.sparse array or matrix"),
        (None, "is a NoneType, expected a 2-D scipy"),
        (lecture().tocoo(), r"is a sparsecore\.formats\.coo\.COO, expected a 2-D scipy"),
        (scipy.sparse.coo_array(np.ones(3)), "has 1 axes, expected 2"),
    ],
    ids=["dense", "None", "COO", "1-D"],
)
def test_csr_takes_scipys_only(bad, message):
    with pytest.raises(TypeError, match=f"CSR.from_scipy: matrix {message}"):
        sc.CSR.from_scipy(bad)


@given(triplets())
def test_coo_round_trip_keeps_order_and_duplicates(arrays):
    data, row, col, shape = arrays
    A = sc.COO((data.astype(np.float32), (row, col)), shape)
    there = A.to_scipy()
    assert isinstance(there, scipy.sparse.coo_array)
    assert there.row.dtype == np.int32
    np.testing.assert_array_equal(there.toarray(), summed(*arrays))
    assert sc.COO.from_scipy(there).equals(A)


@given(triplets(), st.sampled_from(["csr", "csc", "bsr", "dia", "lil", "dok"]))
def test_coo_from_other_formats(arrays, name):
    data, row, col, shape = arrays
    matrix = scipy.sparse.coo_array((data.astype(np.float32), (row, col)), shape).asformat(name)
    A = sc.COO.from_scipy(matrix)
    A.check()
    np.testing.assert_array_equal(A.toarray(), summed(*arrays))


def test_coo_bad_input():
    with pytest.raises(TypeError, match="scipy"):
        sc.COO.from_scipy(np.ones((2, 2)))
    with pytest.raises(TypeError, match="float16"):
        unordered(np.float16).to_scipy()
    with pytest.raises(TypeError, match="1 axes, expected 2"):
        sc.COO.from_scipy(scipy.sparse.coo_array(np.ones(3)))


@pytest.mark.parametrize(
    ("name", "array", "wrong", "error"),
    [
        ("coo", "row", 10**7, IndexError),
        ("coo", "col", -1, IndexError),
        ("csr", "indices", 10**7, IndexError),
        ("csr", "indptr", 10**8, ValueError),
        ("csc", "indices", -(10**7), IndexError),
        ("csc", "indptr", -(10**8), ValueError),
    ],
)
def test_indices_are_checked_before_they_are_followed(name, array, wrong, error):
    matrix = scipy.sparse.eye_array(4, format=name)
    getattr(matrix, array)[1] = wrong
    for kind in (sc.COO, sc.CSR):
        with pytest.raises(error, match=r"row|column"):
            kind.from_scipy(matrix)
