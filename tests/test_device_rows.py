"""Rows of a matrix on a CUDA device: read, gathered, numbered; long ones in pieces."""

import numpy as np
import pytest

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
from oracle import DTYPES
from sparsecore import _core

pytestmark = pytest.mark.gpu


def with_long_row(gpu):
    """Return a matrix with a row of several pieces, and scipy's."""
    rng = np.random.default_rng(4)
    arrays = compressed(one_long_row(rng), 9)
    A = csr_there(arrays, (9, 1100), gpu)
    return A, canonical(A.to_scipy())


def test_row(gpu):
    A, expected = with_long_row(gpu)
    for i in (0, 1, 7, -1, -8):
        columns, values = A.row(i)
        row = expected[[i], :]
        assert back(columns).dtype == np.int64
        assert np.array_equal(back(columns), row.indices)
        assert np.array_equal(back(values), row.data)
    with pytest.raises(IndexError, match=r"CSR.row: row 9 is outside \[-9, 9\)"):
        A.row(9)


def test_row_ids(gpu):
    A, expected = with_long_row(gpu)
    rows = back(A._structure.row_ids())
    assert rows.dtype == np.int64
    assert np.array_equal(rows, np.repeat(np.arange(9), np.diff(expected.indptr)))


def test_pieces_follow_from_the_pattern(gpu):
    A, _ = with_long_row(gpu)
    longest = sc.CSR.from_dense(there(np.ones((1, 1100), np.int8), gpu))
    none = sc.CSR.from_dense(there(np.eye(9), gpu))
    # Of 256 entries each: rows of 1100, 256 and 257 have 5, 1 and 2; a row of none has one.
    assert A._structure.csr.pieces == 5 + 1 + 2 + 6
    assert longest._structure.csr.pieces == 5
    assert none._structure.csr.pieces == 9


@pytest.mark.parametrize(
    "ids", [[], [1], [8, 1, 1, -8, 0, 3], list(range(9)), [-1] * 40, [0, 4, 8]], ids=str
)
def test_gather_rows(gpu, ids):
    A, expected = with_long_row(gpu)
    assert_is(A.gather_rows(ids), canonical(expected[np.array(ids, np.int64), :]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_of_every_size_are_moved(gpu, dtype):
    W = np.arange(1, 13).reshape(3, 4).astype(dtype)
    A = sc.CSR.from_dense(there(W, gpu)).gather_rows([2, 0])
    assert A.dtype == there(W, gpu).dtype
    assert np.array_equal(back(A.toarray()).astype(float), W[[2, 0]].astype(float))


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.uint8, np.int64])
def test_ids_of_every_width(gpu, dtype):
    A, expected = with_long_row(gpu)
    ids = np.array([2, 7], dtype)
    assert_is(A.gather_rows(there(ids, gpu)), canonical(expected[[2, 7], :]))


def test_negative_ids_of_int32(gpu):
    A, expected = with_long_row(gpu)
    ids = there(np.array([-1, -7], np.int32), gpu)
    assert_is(A.gather_rows(ids), canonical(expected[[8, 2], :]))


def test_gathered_offsets_take_the_width_that_they_need(gpu):
    A = sc.CSR.from_dense(there(np.ones((2, 128), np.int8), gpu))
    for ids, width in (([0], 1), ([0, 1], 2)):
        assert back(A.gather_rows(ids)._structure.indptr).itemsize == width


def test_rows_of_nothing(gpu):
    A = sc.CSR.from_dense(there(np.zeros((3, 0)), gpu))
    assert A.gather_rows([0, 2]).shape == (2, 0)
    columns, values = A.row(1)
    assert (len(columns), len(values)) == (0, 0)


def test_the_host_and_the_device_split_nothing_differently(gpu):
    """A copy of the host's structure has the pieces of the one that was made on the device."""
    A, _ = with_long_row(gpu)
    host = A._structure.to_host()
    assert isinstance(host, _core.CsrStructure)
    moved = sc.CSR._wrap(host, np.array(back(A.data))).to(gpu)
    assert moved._structure.csr.pieces == A._structure.csr.pieces
    assert moved._structure.equals(A._structure)
