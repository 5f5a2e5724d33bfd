"""2:4 from dense matrices, pruned or not, and from arrays, of numpy and of torch."""

import pickle

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import sparsecore as sc
from format_cases import EXAMPLES_SHARE_FIXTURES, ON_EACH_TARGET, two_groups, two_groups_24
from oracle import DTYPES, bits
from sparsecore.interop import VALUE_DTYPES

# ---- pruned on the way ----


@ON_EACH_TARGET
@EXAMPLES_SHARE_FIXTURES
@given(
    m=st.integers(0, 4),
    k=st.integers(0, 19),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 2**32 - 1),
)
def test_prune_keeps_the_two_largest_of_each_group(m, k, dtype, seed):
    W = np.random.default_rng(seed).integers(-9, 10, (m, k)).astype(dtype)
    expected = np.zeros_like(W)
    for row in range(m):
        for begin in range(0, k, 4):
            four = np.abs(W[row, begin : begin + 4].astype(int))
            kept = begin + np.argsort(-four, kind="stable")[:2]
            expected[row, kept] = W[row, kept]
    S = sc.Sparse24.from_dense(W, prune=True)
    np.testing.assert_array_equal(S.toarray(), expected)


def test_prune_takes_nan_for_the_largest():
    W = np.array([[4.0, np.nan, np.inf, 3.0]])
    S = sc.Sparse24.from_dense(W, prune=True)
    np.testing.assert_array_equal(S.toarray(), [[0, np.nan, np.inf, 0]])


def test_prune_drops_infinity_times_zero():
    W = np.array([[np.inf, -np.inf, np.inf, 1.0]])
    assert sc.Sparse24.from_dense(W, prune=True).toarray().tolist() == [[np.inf, -np.inf, 0, 0]]


# ---- arrays and tensors ----


@pytest.mark.parametrize("shape", [(0, 0), (0, 8), (3, 0), (0, 5)])
def test_empty_matrices(shape):
    S = sc.Sparse24.from_dense(np.zeros(shape, np.float16))
    assert (S.shape, S.nnz, S.density, S.nbytes) == (shape, 0, 0.0, 0)
    assert S.toarray().shape == shape


def test_strided_and_read_only_arrays_work():
    S = two_groups_24()
    wide = np.zeros((2, 12), np.float32)
    wide[:, ::3] = S.values
    metadata = np.asfortranarray(np.array(S.metadata))
    metadata.flags.writeable = False
    assert sc.Sparse24((wide[:, ::3], metadata), (2, 8)).equals(S)
    table = np.zeros((4, 16), np.float32)
    table[::2, ::-2] = two_groups()
    assert sc.Sparse24.from_dense(table[::2, ::-2]).equals(S)


def test_values_are_shared():
    values = np.array([[1.0, 2.0]])
    S = sc.Sparse24((values, np.array([[0xE4]], np.uint8)), (1, 4))
    assert np.shares_memory(S.values, values)


def test_slots_past_the_last_column_are_no_entries():
    tail = sc.Sparse24.from_dense(np.array([[0.0, 0, 0, 0, 1]]))
    assert (tail.values.shape, tail.nnz) == ((1, 4), 3)  # the fourth slot lies there


@pytest.mark.parametrize("name", list(VALUE_DTYPES))
def test_torch_values(name):
    torch = pytest.importorskip("torch")
    W = torch.tensor(two_groups()).to(getattr(torch, name))
    S = sc.Sparse24.from_dense(W)
    assert (S.dtype, S.metadata.dtype, S.device) == (W.dtype, torch.uint8, torch.device("cpu"))
    assert torch.equal(S.toarray(), W)
    assert S.equals(two_groups_24(VALUE_DTYPES[name]))
    assert sc.Sparse24((S.values, S.metadata), S.shape).values is S.values
    assert pickle.loads(pickle.dumps(S)).equals(S)
    pruned = sc.Sparse24.from_dense(torch.ones(2, 8).to(W.dtype), prune=True)
    assert pruned.toarray()[0].tolist() == [1, 1, 0, 0, 1, 1, 0, 0]


def test_negative_zero_in_a_padded_slot():
    torch = pytest.importorskip("torch")
    W = np.array([[-0.0, -0.0, -0.0, 1.0]])
    from_numpy = sc.Sparse24.from_dense(W)
    from_torch = sc.Sparse24.from_dense(torch.tensor(W, requires_grad=True))
    np.testing.assert_array_equal(bits(from_numpy.values), bits(from_torch.values.detach()))
