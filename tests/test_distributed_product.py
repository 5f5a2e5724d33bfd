"""Shards of a matrix and their product, on 2 and 4 ranks, against the dense product in float64."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sparsecore as sc
from child import output
from sparsecore.distributed import row_boundaries

torch = pytest.importorskip("torch")

import distributed_cases as cases  # noqa: E402
from ranks import Ranks  # noqa: E402

# ---- boundaries ----


@given(lengths=st.lists(st.integers(0, 9), max_size=30), parts=st.integers(1, 8))
def test_boundaries_by_entries_are_the_first_rows_at_each_share(lengths, parts):
    indptr = np.cumsum([0, *lengths])
    m, nnz = len(lengths), sum(lengths)
    found = row_boundaries(indptr, parts)
    assert (found[0], found[-1], len(found)) == (0, m, parts + 1)
    assert all(a <= b for a, b in pairwise(found))
    if nnz == 0:
        assert found == row_boundaries(indptr, parts, by="rows")
        return
    for r in range(parts):
        assert found[r] == next(i for i in range(m + 1) if indptr[i] * parts >= r * nnz)
        entries = indptr[found[r + 1]] - indptr[found[r]]
        assert entries * parts < nnz + max(lengths) * parts


def test_boundaries_by_rows():
    assert row_boundaries([0, 5, 5, 5, 6, 7], 3, by="rows") == (0, 1, 3, 5)
    assert row_boundaries([0], 3) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("indptr", "parts", "by", "error", "message"),
    [
        ([0, 2, 1], 2, "nnz", ValueError, "indptr must begin with 0 and never decrease"),
        ([1, 2], 2, "nnz", ValueError, "indptr must begin with 0"),
        ([0, 2], 0, "nnz", ValueError, "parts is 0, expected at least 1"),
        ([0, 2], 2.0, "nnz", TypeError, "parts is a float, expected an int"),
        ([0, 2], 2, "columns", ValueError, "by is 'columns', expected 'nnz' or 'rows'"),
    ],
)
def test_boundaries_refuse(indptr, parts, by, error, message):
    with pytest.raises(error, match=message):
        row_boundaries(indptr, parts, by=by)


# ---- products ----


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("columns", [None, 3])
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "int8"])
def test_every_rank_has_the_whole_product(ranks, size, columns, dtype):
    W = cases.matrix()
    expected = W @ cases.operand(20, columns)
    indptr = np.cumsum([0, *np.count_nonzero(W, axis=1)])
    for kind, by in (("torch", "nnz"), ("numpy", "nnz"), ("torch", "rows")):
        boundaries = row_boundaries(indptr, size, by=by)
        found = ranks.run(cases.product, W, by, dtype, columns, kind, size=size)
        for rank, (rows, nnz, result_dtype, Y) in enumerate(found):
            assert rows == range(*boundaries[rank : rank + 2])
            assert nnz == np.count_nonzero(W[rows.start : rows.stop])
            assert result_dtype == ("int32" if dtype == "int8" else dtype)
            np.testing.assert_array_equal(Y, expected)


@pytest.mark.parametrize(("m", "columns"), [(0, 2), (1, 2), (3, None), (9, 0)])
def test_shards_may_be_empty(ranks, m, columns):
    W = cases.matrix()[5 : 5 + m]
    for rows, _, _, Y in ranks.run(cases.product, W, "nnz", "float32", columns, "torch"):
        assert len(rows) <= m
        np.testing.assert_array_equal(Y, W @ cases.operand(20, columns))


def test_shards_from_own_rows(ranks):
    expected = cases.matrix(30).sum(1)
    for Y in ranks.run(cases.own_rows, [0, 4, 4, 21], [4, 0, 17, 9], 30):
        np.testing.assert_array_equal(Y, expected)


def test_traffic_is_what_other_ranks_hold():
    part = sc.CSR.from_dense(np.eye(2, 5, dtype=np.float32))
    shard = sc.distributed.RowShard(part, boundaries=(0, 5, 7), rank=1, shape=(7, 5))
    assert sc.distributed.csr_matmul_traffic(shard, columns=3, itemsize=2) == 5 * 3 * 2


# ---- what is refused, on every rank ----


def assert_all_raise(answers, error, message):
    assert [type(answer) for answer in answers] == [error] * len(answers), answers
    for answer in answers:
        assert message in str(answer)


@pytest.mark.parametrize(
    ("starts", "lengths", "message"),
    [
        ([0, 5], [4, 25], "rank 1's rows start at 5, expected 4, where those of rank 0 end"),
        ([0, 3], [4, 27], "rank 1's rows start at 3, expected 4"),
        ([1, 4], [3, 26], "rank 0's rows start at 1, expected 0, the first row"),
        ([0, 4], [4, 25], "the last rank's rows end at 29, expected 30, the number of rows"),
        ([0, -1], [30, 1], "start is -1, expected a row from 0 to 30"),
    ],
)
def test_rows_that_do_not_tile(ranks, starts, lengths, message):
    answers = ranks.run(cases.own_rows, starts, lengths, 30, size=2)
    assert_all_raise(answers, ValueError, message)


def test_a_start_that_is_no_int(ranks):
    answers = ranks.run(cases.own_rows, [0, True], [4, 29], 30, size=2)
    assert_all_raise(answers, TypeError, "start is a bool, expected an int")


@pytest.mark.parametrize(
    ("other", "error", "message"),
    [
        (cases.matrix(36), ValueError, "rank 3 has shape (36, 20), rank 0 (37, 20)"),
        (cases.matrix().astype(np.float32), ValueError, "rank 3 has dtype float32, rank 0 float64"),
        (cases.matrix() + 1, ValueError, "rank 3's rows start at"),
        (np.eye(2, dtype=int), TypeError, "shard_rows: A is a ndarray, expected a CSR"),
    ],
)
def test_different_matrices(ranks, other, error, message):
    assert_all_raise(ranks.run(cases.different_matrices, other), error, message)


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (np.ones(19), ValueError, "X has 19 rows, A has 20 columns"),
        (np.ones(20, np.float32), TypeError, "float32"),
        (np.ones((20, 2)), ValueError, "X is float64 of shape (20,) on rank 0, float64 of shape"),
        ([1.0] * 20, TypeError, "X is a list, expected a numpy array or a torch tensor"),
        (np.ones((20, 2, 2)), TypeError, "shape (20, 2, 2), expected a vector or a matrix of"),
        (torch.ones(20, requires_grad=True), RuntimeError, "records no gradient"),
    ],
)
def test_one_rank_with_another_operand(ranks, X, error, message):
    assert_all_raise(ranks.run(cases.different_operands, 2, X), error, message)


def test_import_brings_no_torch():
    code = (
        "import sys, sparsecore as sc; sc.distributed.row_boundaries([0], 1); print(*sys.modules)"
    )
    assert "torch" not in output(code).split()


def test_without_a_process_group():
    with pytest.raises(RuntimeError, match="shard_rows: no process group"):
        sc.distributed.shard_rows(sc.CSR.from_dense(np.eye(2)))
    with pytest.raises(TypeError, match="shard is a CSR, expected a RowShard"):
        sc.distributed.csr_matmul(sc.CSR.from_dense(np.eye(2)), np.ones(2))


def test_a_rank_that_dies_is_an_error_of_the_others(tmp_path):
    pair = Ranks(2, tmp_path)
    try:
        pair.start(cases.product_then_exit, 2, 1, ranks=[0, 1])
        (answer,) = pair.results(ranks=[0])
    finally:
        pair.close()
    assert isinstance(answer, RuntimeError)
