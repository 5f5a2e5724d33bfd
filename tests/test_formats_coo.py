"""COO: order and duplicates, editing, conversions, copies, bad input."""

import copy
import pickle

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings

import sparsecore as sc
from sparsecore.formats import arguments
from sparsecore.interop import VALUE_DTYPES

DTYPES = list(VALUE_DTYPES.values())


def small(dtype=np.float64) -> sc.COO:
    """Three entries, out of order, the first and the last at one coordinate."""
    return sc.COO((np.array([1, 2, 4], dtype), ([1, 0, 1], [2, 3, 2])), shape=(2, 4))


@st.composite
def triplets(draw):
    """Draw triplets in any order, coordinates repeated; integers whose sums are exact in fp16."""
    m, n = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    nnz = draw(st.integers(0, 20))
    dtype = draw(st.sampled_from(DTYPES))
    data = draw(hnp.arrays(np.int8, nnz, elements=st.integers(-6, 6))).astype(dtype)
    row = draw(hnp.arrays(np.int64, nnz, elements=st.integers(0, m - 1)))
    col = draw(hnp.arrays(np.int64, nnz, elements=st.integers(0, n - 1)))
    return data, row, col, (m, n)


def dense_oracle(data, row, col, shape) -> np.ndarray:
    dense = np.zeros(shape)
    np.add.at(dense, (row, col), np.asarray(data).astype(np.float64))
    return dense


# ---- order, duplicates, values ----


@given(triplets())
def test_order_and_duplicates_are_kept(arrays):
    data, row, col, shape = arrays
    A = sc.COO((data, (row, col)), shape)
    A.check()
    assert (A.shape, A.nnz, A.dtype) == (shape, len(data), data.dtype)
    for stored, given_array in ((A.data, data), (A.row, row), (A.col, col)):
        np.testing.assert_array_equal(stored, given_array)
        assert not stored.flags.writeable
    np.testing.assert_array_equal(A.toarray().astype(np.float64), dense_oracle(*arrays))


@given(triplets())
def test_to_csr_against_float64_sums(arrays):
    data, row, col, shape = arrays
    A = sc.COO((data, (row, col)), shape).tocsr()
    A.check()
    assert A.dtype == data.dtype
    np.testing.assert_array_equal(A.toarray().astype(np.float64), dense_oracle(*arrays))
    # A coordinate whose sum is zero stays stored: only its owner knows whether it is structure.
    assert A.nnz == len(set(zip(row.tolist(), col.tolist(), strict=True)))


@given(triplets())
def test_sum_duplicates_is_canonical(arrays):
    data, row, col, shape = arrays
    A = sc.COO((data, (row, col)), shape)
    canonical = A.sum_duplicates()
    assert canonical.equals(A.tocsr().tocoo())
    assert canonical.sum_duplicates().equals(canonical)
    assert canonical.tocsr("error").equals(A.tocsr())


@pytest.mark.parametrize("dtype", [np.float16, VALUE_DTYPES["bfloat16"]], ids=str)
def test_half_precision_duplicates_are_summed_in_fp32(dtype):
    # In fp16 itself 2048 + 1 is 2048 again (bf16: from 256 on); in fp32 the ones add up.
    data = np.ones(4097, dtype)
    data[0] = 2048
    position = np.zeros(4097, int), np.zeros(4097, int)
    A = sc.COO((data, position), shape=(1, 1))
    assert float(A.tocsr().data[0]) == float(A.sum_duplicates().data[0]) == 2048 + 4096


def test_int8_duplicates_that_overflow():
    data = np.array([100, 27, 1], np.int8)
    A = sc.COO((data, ([0, 0, 0], [1, 1, 1])), shape=(1, 2))
    for convert in (A.tocsr, A.sum_duplicates, A.toarray):
        with pytest.raises(OverflowError, match="128"):
            convert()
    assert A.drop([2]).tocsr().data.tolist() == [127]


def test_duplicates_can_be_refused():
    with pytest.raises(ValueError, match="row 1"):
        small().tocsr("error")
    with pytest.raises(ValueError, match="duplicates"):
        small().tocsr("keep")


def test_values_are_shared_and_indices_private():
    data, row = np.array([1.0, 2.0]), np.array([0, 1], dtype=np.uint8)
    A = sc.COO((data, (row, [0, 1])), shape=(2, 2))
    assert np.shares_memory(A.data, data)
    row[:] = 0
    assert A.row.tolist() == [0, 1]


def test_indices_can_not_be_made_writable():
    A = small()
    made = [A, A.T, A.append([1.0], ([0], [0])), A.drop([0]), A.drop([0, 1, 2])]
    made += [A.sum_duplicates(), A.copy(), copy.deepcopy(A), A.tocsr().tocoo(), A.astype("int8")]
    made += [pickle.loads(pickle.dumps(A)), sc.COO.from_scipy(A.to_scipy())]
    for matrix in made:
        for index in (matrix.row, matrix.col, matrix.row[:1]):
            with pytest.raises(ValueError, match="WRITEABLE"):
                index.flags.writeable = True


def test_misaligned_indices_are_copied_to_where_they_are_aligned():
    raw = np.zeros(41, np.uint8)
    index = raw[1:41].view(np.int64)
    index[:] = [3, 1, 4, 1, 0]
    assert not index.flags.aligned
    aligned = arguments.as_indices(index, name="index")
    assert aligned.flags.aligned
    assert aligned.flags.c_contiguous
    assert aligned.tolist() == [3, 1, 4, 1, 0]
    A = sc.COO((np.arange(1.0, 6), (index, index)), shape=(5, 5))
    assert A.tocsr().data.tolist() == [5, 6, 1, 3]


# ---- widths ----


@pytest.mark.parametrize(
    ("size", "width"),
    [
        (1, np.uint8),
        (256, np.uint8),
        (257, np.uint16),
        (65536, np.uint16),
        (65537, np.uint32),
        (2**32, np.uint32),
        (2**32 + 1, np.uint64),
    ],
)
def test_index_widths(size, width):
    A = sc.COO(([1.0, 2.0], ([0, size - 1], [0, 1])), shape=(size, 3))
    assert (A.row.dtype, A.col.dtype) == (width, np.uint8)
    assert (A.T.row.dtype, A.T.col.dtype) == (np.uint8, width)
    assert A.row.tolist() == [0, size - 1]
    assert A.nbytes == A.storage().total == 2 * (8 + A.row.itemsize + 1)
    # Editing needs no memory for rows that hold nothing.
    assert A.append([3.0], ([size - 1], [1])).sum_duplicates().data.tolist() == [1, 5]


@settings(max_examples=25)
@given(st.sampled_from([(3, 257), (2, 70000), (70000, 2), (300, 300)]), st.data())
def test_dense_round_trip_in_wider_indices(shape, data):
    dtype = data.draw(st.sampled_from(DTYPES))
    seed = data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    W = rng.integers(-3, 4, shape) * (rng.random(shape) < 0.1)
    A = sc.COO.from_dense(W.astype(dtype))
    np.testing.assert_array_equal(A.toarray(), W)
    assert A.nnz == np.count_nonzero(W)
    assert A.storage().total == A.nbytes


# ---- edits ----


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
    A = small()
    A.append([9.0], ([0], [0]))
    A.drop([0])
    A.sum_duplicates()
    assert A.equals(small())


def test_append_takes_sequences_in_its_own_dtype():
    assert small(np.float16).append([0.5], ([0], [0])).dtype == np.float16


def test_append_refuses_other_dtypes_and_places():
    with pytest.raises(TypeError, match=r"float32.*float64"):
        small().append(np.ones(1, np.float32), ([0], [0]))
    with pytest.raises(IndexError, match="row index 2 at position 0"):
        small().append([1.0], ([2], [0]))
    with pytest.raises(ValueError, match="lengths 1, 2, 2"):
        small().append([1.0], ([0, 1], [0, 1]))


def test_drop_refuses_what_is_not_there():
    for position in (3, -4):
        with pytest.raises(IndexError, match=f"{position} at position 1"):
            small().drop([0, position])
    with pytest.raises(ValueError, match="mask"):
        small().drop(np.ones(2, bool))
    with pytest.raises(TypeError, match="float64"):
        small().drop(np.zeros(1))


# ---- bad input ----


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


def test_asarray_refuses_and_names_the_way_and_its_bytes():
    with pytest.raises(TypeError, match=r"A\.toarray\(\).*64 bytes"):
        np.asarray(small())


@pytest.mark.parametrize("shape", [(1, 2**62), (2**62, 1), (0, 2**62)])
def test_dense_past_the_address_space(shape):
    A = sc.COO((np.zeros(0), ([], [])), shape=shape)
    with pytest.raises(MemoryError, match=rf"COO\.toarray.*{shape[1]}\).*{2**65} bytes"):
        A.toarray()


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0), (3, 4)])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_empty_matrices(shape, dtype):
    A = sc.COO((np.zeros(0, dtype), ([], [])), shape=shape)
    assert (A.nnz, A.density, A.nbytes) == (0, 0.0, 0)
    assert A.toarray().shape == shape
    assert A.sum_duplicates().equals(A)
    assert A.tocsr().tocoo().equals(A)
    assert A.allclose(A.append([], ([], [])))
    assert A.drop([]).equals(A)


# ---- scipy and torch ----


@given(triplets())
def test_scipy_round_trip_keeps_order_and_duplicates(arrays):
    data, row, col, shape = arrays
    A = sc.COO((data.astype(np.float32), (row, col)), shape)
    there = A.to_scipy()
    assert isinstance(there, scipy.sparse.coo_array)
    assert there.row.dtype == np.int32
    np.testing.assert_array_equal(there.toarray(), dense_oracle(*arrays))
    assert sc.COO.from_scipy(there).equals(A)


@given(triplets(), st.sampled_from(["csr", "csc", "bsr", "dia", "lil", "dok"]))
def test_scipys_other_formats(arrays, name):
    data, row, col, shape = arrays
    matrix = scipy.sparse.coo_array((data.astype(np.float32), (row, col)), shape).asformat(name)
    A = sc.COO.from_scipy(matrix)
    A.check()
    np.testing.assert_array_equal(A.toarray(), dense_oracle(*arrays))


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
def test_scipys_indices_are_checked_before_they_are_followed(name, array, wrong, error):
    matrix = scipy.sparse.eye_array(4, format=name)
    getattr(matrix, array)[1] = wrong
    for kind in (sc.COO, sc.CSR):
        with pytest.raises(error, match=r"row|column"):
            kind.from_scipy(matrix)


def test_scipy_bad_input():
    with pytest.raises(TypeError, match="scipy"):
        sc.COO.from_scipy(np.ones((2, 2)))
    with pytest.raises(TypeError, match="float16"):
        small(np.float16).to_scipy()
    with pytest.raises(TypeError, match="1 axes, expected 2"):
        sc.COO.from_scipy(scipy.sparse.coo_array(np.ones(3)))


@pytest.mark.parametrize("name", list(VALUE_DTYPES))
def test_torch_round_trip_keeps_order_and_duplicates(name):
    torch = pytest.importorskip("torch")
    data = torch.tensor([1.0, 2.0, 4.0]).to(getattr(torch, name))
    A = sc.COO((data, (torch.tensor([1, 0, 1]), torch.tensor([2, 3, 2]))), shape=(2, 4))
    assert A.data is data
    assert (A.row.dtype, A.col.dtype) == (torch.int64, torch.int64)
    there = A.to_torch()
    assert there.layout == torch.sparse_coo
    assert not there.is_coalesced()
    assert sc.COO.from_torch(there).equals(A)
    assert A.equals(small(VALUE_DTYPES[name]))
    assert A.toarray().tolist() == [[0, 0, 0, 2], [0, 0, 5, 0]]
    assert sc.COO.from_torch(A.toarray()).equals(A.sum_duplicates())
    assert sc.COO.from_torch(A.tocsr().to_torch()).equals(A.sum_duplicates())


@pytest.mark.parametrize("grad", [False, True])
def test_tensor_that_no_longer_fits(grad):
    torch = pytest.importorskip("torch")
    data = torch.nn.Parameter(torch.ones(3), requires_grad=grad)
    A = sc.COO((data, ([1, 0, 1], [2, 3, 2])), shape=(2, 4))
    for other in (torch.ones(1), torch.ones(4), torch.ones(3, 2), torch.tensor(1.0)):
        data.data = other
        for convert in (A.toarray, A.tocsr):
            with pytest.raises(ValueError, match=r"data has shape .*, expected \(3,\)"):
                convert()


def test_torch_edits_and_gradients():
    torch = pytest.importorskip("torch")
    data = torch.tensor([1.0, 2, 4], dtype=torch.float64, requires_grad=True)
    more = torch.tensor([8.0], dtype=torch.float64, requires_grad=True)

    def edited(data, more):
        A = sc.COO((data, ([1, 0, 1], [2, 3, 2])), shape=(2, 4)).append(more, ([0], [0]))
        return A.sum_duplicates().data, A.drop([1]).toarray()

    assert torch.autograd.gradcheck(edited, (data, more))
    A = small(np.float32)
    tensors = sc.COO((torch.ones(3), ([1, 0, 1], [2, 3, 2])), shape=(2, 4))
    with pytest.raises(TypeError, match=r"torch\.float32.*numpy float32"):
        A.append(torch.ones(1), ([0], [0]))
    with pytest.raises(TypeError, match=r"numpy float32.*torch\.float32"):
        tensors.append(np.ones(1, np.float32), ([0], [0]))
    assert tensors.append([5.0], ([0], [0])).data.tolist() == [1, 1, 1, 5]
    assert tensors.drop(tensors.data > 0).nnz == 0


# ---- copies and comparisons ----


def test_copies():
    data = np.array([1.0, 2.0])
    A = sc.COO((data, ([0, 1], [0, 1])), shape=(2, 2))
    for made in (A.copy(), copy.deepcopy(A)):
        assert made.equals(A)
        assert not np.shares_memory(made.data, data)
    assert np.shares_memory(copy.copy(A).data, data)
    assert A.to("cpu").equals(A)
    assert A.tocoo() is A
    with pytest.raises(RuntimeError, match="cuda:1"):
        A.to("cuda:1")


def test_equality_minds_the_order_and_closeness_does_not():
    A = small()
    turned = sc.COO((np.array([4.0, 2, 1]), ([1, 0, 1], [2, 3, 2])), shape=(2, 4))
    assert not A.equals(turned)
    assert A.allclose(turned)
    assert A.allclose(A.sum_duplicates())
    assert A.allclose(A.append([0.0], ([0], [0])))
    assert not A.allclose(A.append([1.0], ([0], [0])))
    assert not A.allclose(A.T)
    assert not A.equals(A.astype(np.float32))
    assert A.allclose(A.astype(np.float32))
    assert not A.equals(None)
    nan = sc.COO(([np.nan], ([0], [0])), shape=(1, 1))
    assert nan.equals(nan.copy())
    assert not nan.allclose(nan)
    assert nan.allclose(nan, equal_nan=True)


def test_transpose():
    A = small()
    np.testing.assert_array_equal(A.T.toarray(), A.toarray().T)
    assert A.T.T.equals(A)


@given(triplets())
def test_pickle(arrays):
    data, row, col, shape = arrays
    A = sc.COO((data, (row, col)), shape)
    assert pickle.loads(pickle.dumps(A)).equals(A)


def test_pickle_is_validated_when_loaded():
    A = sc.COO(([1.0, 2.0], ([17, 42], [0, 1])), shape=(50, 2))
    content = pickle.dumps(A)
    assert content.count(b"\x11\x2a") == 1
    with pytest.raises(IndexError, match="row index 255 at position 1"):
        pickle.loads(content.replace(b"\x11\x2a", b"\x11\xff"))


def test_pickle_with_tensor():
    torch = pytest.importorskip("torch")
    A = sc.COO((torch.ones(2), ([0, 1], [0, 1])), shape=(2, 2))
    made = pickle.loads(pickle.dumps(A))
    assert made.data.dtype == torch.float32
    assert made.equals(A)


def test_what_it_says_of_itself():
    A = small(np.int8)
    assert repr(A) == "<COO 2x4, nnz=3 (density 37.5%), int8, rows uint8, columns uint8, 9 bytes>"
    assert (A.format, A.device, A.density, A.sparsity) == ("coo", "cpu", 0.375, 0.625)
    storage = A.storage()
    assert (storage.values, storage.columns, storage.row_offsets, storage.dense) == (3, 3, 3, 8)
