"""Reading rows of CSR: one by its number, many at once."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import sparsecore as sc
from format_cases import dense_matrices, lecture
from oracle import bits


@given(dense_matrices(), st.data())
def test_rows_against_dense(W, data):
    A = sc.CSR.from_dense(W)
    for i in range(-W.shape[0], W.shape[0]):
        cols, vals = A.row(i)
        assert cols.dtype == np.int64
        np.testing.assert_array_equal(cols, np.flatnonzero(W[i] != 0))
        np.testing.assert_array_equal(bits(vals), bits(W[i][cols]))
    rows = st.lists(st.integers(-W.shape[0], W.shape[0] - 1), max_size=8) if len(W) else st.just([])
    row_ids = data.draw(rows)
    B = A.gather_rows(row_ids)
    B.check()
    assert B.equals(sc.CSR.from_dense(W[np.array(row_ids, dtype=np.int64)]))


@pytest.mark.parametrize("i", [4, -5, 2**40, -(2**63)])
def test_row_outside(i):
    with pytest.raises(IndexError, match=rf"row {i} is outside \[-4, 4\)"):
        lecture().row(i)
    with pytest.raises(IndexError, match=f"{i} at position 1"):
        lecture().gather_rows([0, i])


@pytest.mark.parametrize("bad", [[True, False, True, True], [0.0, 1.0], [[0], [1]]])
def test_gather_rows_takes_integers(bad):
    with pytest.raises(TypeError, match="gather_rows"):
        lecture().gather_rows(bad)


def test_row_takes_an_integer():
    with pytest.raises(TypeError):
        lecture().row(1.0)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("length", [0, 1, 5, 16, 33, 700])
def test_many_rows_of_one_length(length, threads):
    """Copied in pieces of 16 bytes, longer ones at once; shared out to threads."""
    rng = np.random.default_rng(60)
    W = np.zeros((50, 701), np.float32)
    W[:, :length] = rng.integers(1, 9, (50, length))
    rows = rng.integers(-50, 50, 3000)
    before = sc.get_num_threads()
    sc.set_num_threads(threads)
    try:
        B = sc.CSR.from_dense(W).gather_rows(rows)
    finally:
        sc.set_num_threads(before)
    B.check()
    assert B.equals(sc.CSR.from_dense(W[rows]))
