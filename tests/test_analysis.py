"""The costs of sparsity: the published figures, and the arithmetic against real matrices."""

import doctest

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import sparsecore as sc
from sparsecore import analysis
from sparsecore.interop import VALUE_DTYPES

FORMATS = {"coo": sc.COO, "csr": sc.CSR, "sparse24": sc.Sparse24}


def test_published_figures_are_doctests():
    result = doctest.testmod(analysis)
    assert result.attempted > 20
    assert result.failed == 0


# ---- storage ----


def dense(shape, nnz, dtype, rng) -> np.ndarray:
    W = np.zeros(shape, dtype)
    W.flat[rng.permutation(W.size)[:nnz]] = 1
    return W


@given(
    st.sampled_from([(0, 0), (3, 0), (0, 3), (1, 1), (7, 9), (3, 256), (3, 257), (257, 3)]),
    st.sampled_from(list(VALUE_DTYPES)),
    st.sampled_from(["coo", "csr"]),
    st.floats(0, 1),
    st.integers(0, 2**32 - 1),
)
def test_storage_equals_the_real_bytes(shape, dtype, fmt, density, seed):
    nnz = round(density * shape[0] * shape[1])
    W = dense(shape, nnz, VALUE_DTYPES[dtype], np.random.default_rng(seed))
    A = FORMATS[fmt].from_dense(W)
    expected = analysis.storage(shape, nnz, dtype, fmt)
    assert expected == A.storage()
    assert expected.total == A.nbytes
    assert expected.values == A.data.nbytes
    assert expected.dense == W.nbytes


@pytest.mark.parametrize("nnz", [0, 255, 256, 65535, 65536])
@pytest.mark.parametrize("shape", [(2, 70000), (300, 256)])
def test_storage_at_the_boundaries_of_the_widths(shape, nnz):
    W = dense(shape, nnz, np.int8, np.random.default_rng(nnz))
    for fmt in ("coo", "csr"):
        assert analysis.storage(shape, nnz, np.int8, fmt).total == FORMATS[fmt].from_dense(W).nbytes


def test_one_byte_offsets_reach_255_entries():
    # A row offset holds the number of entries itself, a column at most n - 1.
    assert analysis.storage((1, 256), 255, "int8", "csr").row_offsets == 2
    assert analysis.storage((1, 256), 256, "int8", "csr").row_offsets == 4
    assert analysis.storage((1, 256), 256, "int8", "csr").columns == 256
    assert analysis.storage((1, 257), 256, "int8", "csr").columns == 512


@given(st.integers(0, 9), st.integers(0, 33), st.sampled_from(list(VALUE_DTYPES)))
def test_storage_of_24_equals_the_real_bytes(m, k, dtype):
    S = sc.Sparse24.from_dense(np.zeros((m, k), VALUE_DTYPES[dtype]))
    expected = analysis.storage((m, k), 0, dtype, "sparse24")
    assert expected == S.storage()
    assert expected.total == S.nbytes == S.values.nbytes + S.metadata.nbytes


def test_storage_takes_torch_dtypes():
    torch = pytest.importorskip("torch")
    expected = analysis.storage((8, 8), 5, "bfloat16", "csr")
    assert analysis.storage((8, 8), 5, torch.bfloat16, "csr") == expected


def test_ratio_of_nothing():
    assert analysis.storage((0, 4), 0, "float32", "csr").ratio == float("inf")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (((2, 2), 5, "float32", "csr"), ValueError, "nnz is 5, expected 0 to 4"),
        (((2, 2), -1, "float32", "coo"), ValueError, "nnz is -1"),
        (((1, 8), 5, "float32", "sparse24"), ValueError, "nnz is 5, expected 0 to 4"),
        (((2, 2), 1, "float32", "bsr"), ValueError, "'bsr'"),
        (((2, 2), 1, "int32", "csr"), TypeError, "int32"),
        (((2, 2), 1.5, "float32", "csr"), TypeError, "nnz is 1.5, expected an integer"),
        (((2, -2), 1, "float32", "csr"), ValueError, "shape"),
        (((2,), 1, "float32", "csr"), ValueError, "shape"),
    ],
)
def test_storage_bad_input(arguments, error, message):
    with pytest.raises(error, match=message):
        analysis.storage(*arguments)


# ---- break-even ----


@given(
    st.tuples(st.integers(1, 600), st.integers(1, 600)),
    st.sampled_from(list(VALUE_DTYPES)),
    st.sampled_from(["coo", "csr"]),
)
def test_breakeven_is_the_last_density_that_pays(shape, dtype, fmt):
    size = shape[0] * shape[1]
    nnz = round(analysis.breakeven_density(shape, dtype, fmt) * size)
    if nnz:
        assert analysis.storage(shape, nnz, dtype, fmt).ratio <= 1
    if nnz < size:
        assert analysis.storage(shape, nnz + 1, dtype, fmt).ratio > 1


@pytest.mark.parametrize(
    ("dtype", "expected"), [("float32", 0.5), ("float16", 0.5), ("bfloat16", 0.5), ("int8", 0.5)]
)
def test_24_always_pays(dtype, expected):
    assert analysis.breakeven_density((64, 64), dtype, "sparse24") == expected


def test_breakeven_where_nothing_pays():
    assert analysis.breakeven_density((100, 1), "int8", "csr") == 0.0
    assert analysis.breakeven_density((1, 1), "int8", "sparse24") == 0.0
    assert analysis.breakeven_density((0, 5), "int8", "csr") == 0.0
    with pytest.raises(ValueError, match="fmt"):
        analysis.breakeven_density((4, 4), "int8", "dense")


# ---- operations and waste ----


masks = hnp.arrays(bool, st.tuples(st.integers(0, 9), st.integers(0, 9)))


@given(masks, st.integers(0, 4))
def test_operations_by_counting(mask, n):
    count = analysis.operations(mask, n)
    m, k = mask.shape
    for cost, kept in ((count.dense, np.ones_like(mask)), (count.sparse, mask)):
        multiplications = additions = 0
        for row in range(m):
            for _ in range(n):
                products = sum(bool(kept[row, col]) for col in range(k))
                multiplications += products
                additions += max(products - 1, 0)
        assert (cost.multiplications, cost.additions) == (multiplications, additions)


@given(masks, st.integers(1, 5))
def test_grouping_waste_by_counting(mask, rows):
    wasted = 0
    for begin in range(0, len(mask), rows):
        group = mask[begin : begin + rows]
        union = [col for col in range(mask.shape[1]) if group[:, col].any()]
        wasted += sum(not group[row, col] for row in range(len(group)) for col in union)
    assert analysis.grouping_waste(mask, rows) == wasted


def test_weights_and_tensors_count_as_masks():
    torch = pytest.importorskip("torch")
    W = np.array([[0.0, 2.0, np.nan], [-0.0, 0.0, 1.0]], np.float32)
    for mask in (W, torch.tensor(W, requires_grad=True), torch.tensor(W != 0)):
        assert analysis.operations(mask, 1).sparse.multiplications == 3
        assert analysis.grouping_waste(mask, 2) == 1


def test_bad_input():
    with pytest.raises(ValueError, match="rows is 0"):
        analysis.grouping_waste(np.ones((2, 2)), 0)
    with pytest.raises(ValueError, match="n is -1"):
        analysis.operations(np.ones((2, 2)), -1)
    for bad in (1.5, 2.0, "2", None):
        with pytest.raises(TypeError, match=rf"grouping_waste: rows is {bad!r}, expected an int"):
            analysis.grouping_waste(np.ones((2, 2)), bad)
        with pytest.raises(TypeError, match=rf"operations: n is {bad!r}, expected an int"):
            analysis.operations(np.ones((2, 2)), bad)
        with pytest.raises(TypeError, match=rf"storage: nnz is {bad!r}, expected an int"):
            analysis.storage((2, 2), bad, "int8", "csr")
    assert analysis.grouping_waste(np.eye(2), np.int8(2)) == 2
    assert type(analysis.operations(np.eye(2), np.int8(100)).sparse.multiplications) is int
    with pytest.raises(TypeError, match="axes"):
        analysis.operations(np.ones(2), 1)
    with pytest.raises(TypeError, match="axes"):
        analysis.grouping_waste(np.ones((2, 2, 2)), 1)
