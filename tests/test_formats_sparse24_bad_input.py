"""What 2:4 refuses, and the place that its error names."""

import numpy as np
import pytest

import sparsecore as sc
from format_cases import two_groups


@pytest.mark.parametrize(("row", "group"), [(0, 0), (1, 2), (2, 4)])
def test_weights_that_are_not_24(row, group):
    W = np.zeros((3, 18), np.float32)
    W[row, 4 * group : 4 * group + 4] = 1
    if group == 4:  # the tail has two columns, which always fit
        assert sc.Sparse24.from_dense(W).nnz > 0
        return
    with pytest.raises(ValueError, match=rf"row {row}.*group {group}"):
        sc.Sparse24.from_dense(W)


@pytest.mark.parametrize("nibble", [0x0, 0x1, 0x2, 0x3, 0x5, 0x6, 0x7, 0xA, 0xB, 0xF])
@pytest.mark.parametrize("half", [0, 4])
def test_nibbles_that_do_not_ascend(nibble, half):
    metadata = np.full((3, 2), 0xEE, np.uint8)
    metadata[1, 1] = nibble << half | 0xE << (4 - half)
    with pytest.raises(ValueError, match=rf"row 1, group {2 + half // 4}"):
        sc.Sparse24((np.zeros((3, 8)), metadata), (3, 16))


@pytest.mark.parametrize(
    ("values", "metadata"),
    [((2, 3), (2, 1)), ((1, 4), (2, 1)), ((2, 4), (2, 2)), ((2, 4), (1, 1)), ((2, 4), (2, 0))],
)
def test_shapes_that_do_not_fit(values, metadata):
    with pytest.raises(ValueError, match="shape"):
        sc.Sparse24((np.zeros(values), np.full(metadata, 0xEE, np.uint8)), (2, 8))


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.float32, bool, object])
def test_metadata_of_other_dtypes(dtype):
    with pytest.raises(TypeError, match="metadata"):
        sc.Sparse24((np.zeros((2, 4)), np.zeros((2, 1), dtype)), (2, 8))


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, bool, object, complex, ">f4"])
def test_values_of_other_dtypes(dtype):
    with pytest.raises(TypeError, match="Sparse24: values"):
        sc.Sparse24((np.zeros((2, 4), dtype), np.full((2, 1), 0xEE, np.uint8)), (2, 8))
    with pytest.raises(TypeError, match="from_dense: W"):
        sc.Sparse24.from_dense(np.zeros((2, 8), dtype))


@pytest.mark.parametrize("rank", [1, 3])
def test_other_ranks(rank):
    with pytest.raises(TypeError, match="axes"):
        sc.Sparse24.from_dense(np.zeros((8,) * rank))
    with pytest.raises(TypeError, match="values"):
        sc.Sparse24((np.zeros((4,) * rank), np.full((4, 1), 0xEE, np.uint8)), (4, 8))
    with pytest.raises(TypeError, match="metadata"):
        sc.Sparse24((np.zeros((2, 4)), np.zeros((1,) * rank, np.uint8)), (2, 8))


@pytest.mark.parametrize("shape", [(2,), (-2, 8), (2, 8, 1)])
def test_bad_shape(shape):
    with pytest.raises(ValueError, match="shape"):
        sc.Sparse24((np.zeros((2, 4)), np.full((2, 1), 0xEE, np.uint8)), shape)


@pytest.mark.parametrize("value", [1.0, np.nan])
def test_a_value_past_the_last_column(value):
    S = sc.Sparse24.from_dense(np.array([[0.0, 0, 0, 0, 1]]))  # the fifth column's group: 1000
    values = np.array(S.values)
    assert S.metadata.tolist() == [[0x8E]]
    values[0, 3] = value  # position 2 of that group: column 6 of 5
    with pytest.raises(ValueError, match=r"values\[0, 3\].*5 columns"):
        sc.Sparse24((values, S.metadata), S.shape)


def test_a_dense_matrix_is_sent_to_from_dense():
    with pytest.raises(TypeError, match="from_dense"):
        sc.Sparse24(two_groups()[0], (1, 8))


def test_dense_past_the_address_space():
    # Without rows, because a 2:4 matrix with one takes a quarter of the dense bytes or more.
    metadata = np.zeros((0, 2**59), np.uint8)
    S = sc.Sparse24((np.zeros((0, 2**61), np.float16), metadata), (0, 2**62))
    with pytest.raises(MemoryError, match=rf"Sparse24\.toarray.*{2**62}\).*{2**63} bytes"):
        S.toarray()
