"""CSR: construction, canonical form, widths, conversions, row access, copies, bad input."""

import copy
import pickle

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.sparse
from hypothesis import HealthCheck, given, settings

import sparsecore as sc
from golden import golden
from sparsecore.interop import VALUE_DTYPES

DTYPES = list(VALUE_DTYPES.values())
LECTURE = np.array([[0.0, 3, 0, 7], [0, 0, 8, 0], [2, 5, 0, 0], [0, 0, 0, 9]])
ON_EACH_TARGET = pytest.mark.usefixtures("target")
EXAMPLES_SHARE_IT = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
# Exact in every dtype, zeros of both signs among them.
NUMBERS = [0.0, 0.0, 0.0, -0.0, 1.0, -2.0, 96.0, -127.0]


def lecture(dtype=np.float64) -> sc.CSR:
    return sc.CSR.from_dense(LECTURE.astype(dtype))


def bits(array) -> np.ndarray:
    array = np.ascontiguousarray(array)
    return array.view(f"u{array.dtype.itemsize}")


@st.composite
def dense_matrices(draw, max_side=12):
    """Draw a matrix of any dtype in any memory order: C, F, every second, backwards."""
    dtype = draw(st.sampled_from(DTYPES))
    numbers = NUMBERS if dtype == np.int8 else [*NUMBERS, np.nan, np.inf, 0.5]
    shape = draw(st.tuples(st.integers(0, max_side), st.integers(0, max_side)))
    W = draw(hnp.arrays(np.float64, shape, elements=st.sampled_from(numbers))).astype(dtype)
    order = draw(st.sampled_from(["C", "F", "strided", "backwards"]))
    if order == "strided":
        wide = np.ones((shape[0] * 2, shape[1] * 3), dtype)
        wide[::2, ::3] = W
        return wide[::2, ::3]
    if order == "backwards":
        return np.ascontiguousarray(W[::-1, ::-1])[::-1, ::-1]
    return np.asarray(W, order=order)


# ---- the published figures ----


def test_lecture_example():
    A = lecture()
    assert A.data.tolist() == [3, 7, 8, 2, 5, 9]
    assert A.indices.tolist() == [1, 3, 2, 0, 1, 3]
    assert A.indptr.tolist() == [0, 2, 3, 5, 6]


def test_golden_csr():
    entry = golden("csr.a")
    A = sc.CSR.from_dense(np.array(entry["input"], dtype=np.float32))
    assert A.indptr.tolist() == entry["expected"]["crow"]
    assert A.indices.tolist() == entry["expected"]["col"]
    assert A.data.tolist() == entry["expected"]["val"]


def test_golden_csc_is_the_transposes_csr():
    entry = golden("csc.a")
    A = sc.CSR.from_dense(np.array(entry["input"], dtype=np.float32)).T.tocsr()
    assert A.shape == (4, 3)
    assert A.indptr.tolist() == entry["expected"]["ccol"]
    assert A.indices.tolist() == entry["expected"]["row"]
    assert A.data.tolist() == entry["expected"]["val"]


# ---- round trips ----


@ON_EACH_TARGET
@EXAMPLES_SHARE_IT
@given(dense_matrices())
def test_dense_round_trip_is_exact(W):
    A = sc.CSR.from_dense(W)
    A.check()
    assert A.shape == W.shape
    assert A.dtype == W.dtype
    assert A.nnz == np.count_nonzero(W != 0)
    expected = np.where(W == 0, W.dtype.type(0), W)  # -0.0 is a zero; NaN is none
    np.testing.assert_array_equal(bits(A.toarray()), bits(expected))


@given(dense_matrices())
def test_dense_to_coo_and_back(W):
    A = sc.CSR.from_dense(W)
    coo = A.tocoo()
    assert (coo.row.dtype, coo.col.dtype) == (
        np.min_scalar_type(max(W.shape[0] - 1, 0)),
        np.min_scalar_type(max(W.shape[1] - 1, 0)),
    )
    assert coo.tocsr("error").equals(A)


@ON_EACH_TARGET
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("shape", "width"),
    [
        ((3, 0), np.uint8),
        ((3, 1), np.uint8),
        ((3, 256), np.uint8),
        ((3, 257), np.uint16),
        ((2, 65536), np.uint16),
        ((2, 65537), np.uint32),
        ((2, 70000), np.uint32),
    ],
)
def test_column_width_and_round_trip(shape, width, dtype):
    W = np.zeros(shape, dtype)
    if shape[1]:
        W[0, -1], W[1, 0], W[1, shape[1] // 2] = 1, 2, 3
    A = sc.CSR.from_dense(W)
    assert A.indices.dtype == width
    np.testing.assert_array_equal(bits(A.toarray()), bits(W))
    assert A.nbytes == A.data.nbytes + A.indices.nbytes + A.indptr.nbytes
    assert A.storage().total == A.nbytes


def test_column_width_past_32_bits():
    A = sc.CSR((np.array([1.0, 2.0]), [5, 2**32], [0, 2]), shape=(1, 2**32 + 1))
    assert A.indices.dtype == np.uint64
    assert A.indices.tolist() == [5, 2**32]
    assert sc.CSR(([1.0], [2**32 - 1], [0, 1]), shape=(1, 2**32)).indices.dtype == np.uint32


@pytest.mark.parametrize(
    ("nnz", "width"),
    [
        (0, np.uint8),
        (255, np.uint8),
        (256, np.uint16),
        (65535, np.uint16),
        (65536, np.uint32),
    ],
)
def test_offset_width_and_round_trip(nnz, width):
    W = np.zeros(2 * 40000, np.int8)
    W[np.random.default_rng(nnz).permutation(W.size)[:nnz]] = 7
    W = W.reshape(2, 40000)
    A = sc.CSR.from_dense(W)
    assert A.indptr.dtype == width
    assert A.indptr[-1] == nnz
    np.testing.assert_array_equal(A.toarray(), W)
    assert A.storage().total == A.nbytes


# ---- construction from arrays ----


@st.composite
def csr_arrays(draw):
    """Draw valid arrays in a random order within rows, duplicates among them."""
    m, n = draw(st.integers(0, 6)), draw(st.integers(1, 9))
    rows = [draw(st.lists(st.integers(0, n - 1), max_size=12)) for _ in range(m)]
    indptr = np.cumsum([0] + [len(row) for row in rows])
    indices = np.array([column for row in rows for column in row], dtype=np.int64)
    data = draw(hnp.arrays(np.float64, len(indices), elements=st.integers(-9, 9)))
    return data, indices, indptr, (m, n)


@given(csr_arrays(), st.sampled_from(DTYPES), st.sampled_from([np.int32, np.uint64, np.int8]))
def test_unsorted_rows_with_duplicates_are_summed_in_a_copy(arrays, dtype, index_dtype):
    data, indices, indptr, shape = arrays
    data, indices, indptr = data.astype(dtype), indices.astype(index_dtype), indptr.astype("i4")
    before = data.copy(), indices.copy(), indptr.copy()
    A = sc.CSR((data, indices, indptr), shape, duplicates="sum")
    expected = np.zeros(shape)
    row = np.repeat(np.arange(shape[0]), np.diff(indptr))
    np.add.at(expected, (row, indices.astype(np.int64)), data.astype(np.float64))
    # Sums of at most 12 integers up to 9 are exact in every dtype.
    np.testing.assert_array_equal(A.toarray().astype(np.float64), expected)
    A.check()
    for array, original in zip((data, indices, indptr), before, strict=True):
        np.testing.assert_array_equal(array, original)


@pytest.mark.parametrize("duplicates", ["error", "sum"])
def test_sorting_moves_the_values_along(duplicates):
    arrays = np.array([1.0, 2, 3]), [3, 0, 1], [0, 2, 3]
    A = sc.CSR(arrays, shape=(2, 4), duplicates=duplicates)
    assert A.indices.tolist() == [0, 3, 1]
    assert A.data.tolist() == [2, 1, 3]


def test_sorted_values_are_shared_and_read_only():
    data = np.array([1.0, 2, 3])
    A = sc.CSR((data, [0, 3, 1], [0, 2, 3]), shape=(2, 4))
    assert np.shares_memory(A.data, data)
    for view in (A.data, A.indices, A.indptr):
        with pytest.raises(ValueError, match="read-only"):
            view[0] = 1
    data[0] = 10  # the caller's array stays writable, and its values are the matrix's
    assert A.toarray()[0, 0] == 10


def test_indices_are_private():
    indices = np.array([0, 3, 1], dtype=np.uint8)
    A = sc.CSR((np.ones(3), indices, [0, 2, 3]), shape=(2, 4))
    indices[:] = 2
    assert A.indices.tolist() == [0, 3, 1]


def test_non_contiguous_misaligned_and_read_only_arrays_work():
    wide = np.arange(1.0, 7.0)
    raw = bytearray(1 + 3 * 8)
    misaligned = np.frombuffer(raw, dtype=np.float64, offset=1)
    misaligned[:] = [1, 3, 5]
    backwards = np.array([5.0, 3, 1])[::-1]
    frozen = np.array([1.0, 3, 5])
    frozen.flags.writeable = False
    expected = sc.CSR(([1.0, 3, 5], [0, 3, 1], [0, 2, 3]), shape=(2, 4))
    for data in (wide[::2], misaligned, backwards, frozen):
        indices, indptr = np.array([0, 9, 3, 9, 1])[::2], np.array([3, 2, 0])[::-1]
        assert sc.CSR((data, indices, indptr), shape=(2, 4)).equals(expected)
    table = np.frombuffer(b"x" + LECTURE.tobytes(), dtype=np.float64, offset=1).reshape(4, 4)
    assert sc.CSR.from_dense(table).equals(lecture())


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0), (3, 4)])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_empty_matrices(shape, dtype):
    A = sc.CSR((np.zeros(0, dtype), [], np.zeros(shape[0] + 1, int)), shape=shape)
    A.check()
    assert (A.nnz, A.density, A.sparsity) == (0, 0.0, 1.0)
    assert A.toarray().shape == shape
    assert A.T.tocsr().shape == shape[::-1]
    assert A.equals(sc.CSR.from_dense(np.zeros(shape, dtype)))
    assert A.indices.dtype == (np.uint8)
    assert A.storage().total == A.nbytes
    assert A.tocoo().tocsr().equals(A)


# ---- bad input ----


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


def test_asarray_refuses_and_names_the_way_and_its_bytes():
    for matrix in (lecture(), lecture().T):
        with pytest.raises(TypeError, match=r"A\.toarray\(\).*128 bytes"):
            np.asarray(matrix)


# ---- reading rows ----


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


@pytest.mark.parametrize("i", [4, -5, 2**40])
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


# ---- transposes and operators ----


@given(dense_matrices())
def test_transpose(W):
    A = sc.CSR.from_dense(W)
    assert A.T.T is A
    assert (A.T.shape, A.T.nnz, A.T.dtype, A.T.device) == (W.shape[::-1], A.nnz, W.dtype, "cpu")
    np.testing.assert_array_equal(bits(A.T.toarray()), bits(A.toarray().T))
    transposed = A.T.tocsr()
    transposed.check()
    assert transposed.equals(sc.CSR.from_dense(W.T))


@pytest.mark.parametrize("columns", [None, 1, 5])
def test_operators_on_both_sides(columns):
    A, rng = lecture(), np.random.default_rng(0)
    W = A.toarray()[:3]
    A = A.gather_rows([0, 1, 2])
    right = rng.standard_normal(4 if columns is None else (4, columns))
    left = rng.standard_normal(3 if columns is None else (columns, 3))
    # Sums of at most 4 products in float64, in another order: 4 eps of sums of magnitudes < 100.
    tolerance = 4 * np.finfo(np.float64).eps * 100
    np.testing.assert_allclose(A @ right, W @ right, rtol=0, atol=tolerance)
    np.testing.assert_allclose(left @ A, left @ W, rtol=0, atol=tolerance)
    np.testing.assert_allclose(A.T @ left.T, W.T @ left.T, rtol=0, atol=tolerance)
    np.testing.assert_allclose(right.T @ A.T, right.T @ W.T, rtol=0, atol=tolerance)


def test_operator_with_tensor_on_the_left():
    torch = pytest.importorskip("torch")
    A = lecture(np.float32)
    W, X = torch.from_numpy(A.toarray()), torch.ones(2, 4)
    for left in (X, torch.nn.Parameter(X), X[0]):
        product = left @ A
        assert isinstance(product, torch.Tensor)
        torch.testing.assert_close(product, left @ W)
        torch.testing.assert_close(left @ A.T, left @ W.T)


# ---- scipy ----


@given(csr_arrays(), st.sampled_from(["csr", "csc", "coo", "bsr", "lil"]))
def test_from_scipy_every_format(arrays, name):
    data, indices, indptr, shape = arrays
    source = scipy.sparse.csr_array((data, indices, indptr), shape=shape)
    expected = source.toarray()
    matrix = source.copy().asformat(name)
    A = sc.CSR.from_scipy(matrix)
    A.check()
    np.testing.assert_array_equal(A.toarray(), expected)
    np.testing.assert_array_equal(matrix.toarray(), expected)  # scipy's matrix is as it was


def test_from_scipy_old_matrix_class_and_private_values():
    source = scipy.sparse.csr_matrix(LECTURE)
    A = sc.CSR.from_scipy(source)
    source.data[:] = 0
    assert A.equals(lecture())


@pytest.mark.parametrize("name", ["csr", "csc"])
def test_from_scipy_with_room_behind_the_last_entry(name):
    matrix = scipy.sparse.csr_array(LECTURE).asformat(name)
    matrix.data = np.append(matrix.data, [5.0, 6.0])
    matrix.indices = np.append(matrix.indices, [99, -1]).astype(np.int32)
    assert sc.CSR.from_scipy(matrix).equals(lecture())


@pytest.mark.parametrize("name", ["coo", "csr", "csc"])
def test_from_scipy_sums_int8_duplicates_or_refuses(name):
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
def test_to_scipy(dtype):
    A = lecture(dtype)
    matrix = A.to_scipy()
    assert isinstance(matrix, scipy.sparse.csr_array)
    assert matrix.dtype == dtype
    assert matrix.indices.dtype == matrix.indptr.dtype == np.int32
    matrix.check_format(full_check=True)
    np.testing.assert_array_equal(matrix.toarray(), LECTURE)
    matrix.data[:] = 0
    assert A.equals(lecture(dtype))


@pytest.mark.parametrize("dtype", [np.float16, VALUE_DTYPES["bfloat16"]], ids=str)
def test_to_scipy_without_half_precision(dtype):
    with pytest.raises(TypeError, match="float32"):
        lecture(dtype).to_scipy()


def test_to_scipy_with_wide_indices():
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
def test_from_scipy_takes_scipys(bad, message):
    with pytest.raises(TypeError, match=f"CSR.from_scipy: matrix {message}"):
        sc.CSR.from_scipy(bad)


# ---- torch ----


@pytest.mark.parametrize("name", list(VALUE_DTYPES))
def test_torch_round_trips(name):
    torch = pytest.importorskip("torch")
    dtype = getattr(torch, name)
    W = torch.tensor(LECTURE).to(dtype)
    A = sc.CSR.from_torch(W)
    assert A.dtype == dtype
    assert (A.device, A.data.dtype) == (torch.device("cpu"), dtype)
    assert torch.equal(A.toarray(), W)
    back = A.to_torch()
    assert back.layout == torch.sparse_csr
    assert back.values().data_ptr() == A.data.data_ptr()
    assert sc.CSR.from_torch(back).equals(A)
    assert A.equals(lecture(VALUE_DTYPES[name]))
    assert torch.equal(lecture(VALUE_DTYPES[name]).to_torch().values(), A.data)


def test_torch_sparse_coo_duplicates_are_summed():
    torch = pytest.importorskip("torch")
    position = torch.tensor([[1, 0, 1], [2, 3, 2]])
    t = torch.sparse_coo_tensor(position, torch.tensor([1.0, 2, 4]), (2, 4), check_invariants=True)
    A = sc.CSR.from_torch(t)
    assert A.toarray().tolist() == [[0, 0, 0, 2], [0, 0, 5, 0]]
    small = torch.sparse_coo_tensor(
        position, torch.tensor([100, 1, 100], dtype=torch.int8), (2, 4), check_invariants=True
    )
    with pytest.raises(OverflowError, match="200"):  # torch's own coalesce wraps to -56
        sc.CSR.from_torch(small)


def test_torch_values_are_the_same_object_and_indices_int64_copies():
    torch = pytest.importorskip("torch")
    data = torch.nn.Parameter(torch.tensor([1.0, 2, 3]))
    A = sc.CSR((data, torch.tensor([0, 3, 1], dtype=torch.uint8), [0, 2, 3]), shape=(2, 4))
    assert A.data is data
    assert A.copy().data is not data
    assert (A.indices.dtype, A.indptr.dtype) == (torch.int64, torch.int64)
    A.indices[0] = 99
    assert A.indices.tolist() == [0, 3, 1]
    cols, vals = A.row(0)
    assert (cols.dtype, cols.tolist(), vals.tolist()) == (torch.int64, [0, 3], [1, 2])
    assert A.nbytes == 3 * 4 + 3 * 1 + 3 * 1


def test_gradients_pass_through_conversions():
    torch = pytest.importorskip("torch")
    # Without zeros, because a finite difference would make an entry of one.
    full = torch.tensor(LECTURE + 1, requires_grad=True)

    def through(W):
        A = sc.CSR.from_dense(W)
        return A.gather_rows([2, 0, 0, -1]).T.tocsr().toarray(), A.tocoo().toarray(), A.row(0)[1]

    assert torch.autograd.gradcheck(through, (full,))
    W = torch.tensor(LECTURE, requires_grad=True)
    sc.CSR.from_dense(W).toarray().sum().backward()
    np.testing.assert_array_equal(W.grad.numpy(), LECTURE != 0)
    with torch.no_grad():
        assert not sc.CSR.from_dense(W).data.requires_grad


def test_gradients_pass_through_sorting_and_summing():
    torch = pytest.importorskip("torch")
    data = torch.tensor([1.0, 2, 4, 8], dtype=torch.float64, requires_grad=True)

    def through(data):
        A = sc.CSR((data, [3, 0, 3, 1], [0, 3, 4]), shape=(2, 4), duplicates="sum")
        return A.data, A.astype(torch.float64).to_torch().to_dense()

    assert torch.autograd.gradcheck(through, (data,), masked=False)
    assert through(data)[0].tolist() == [2, 5, 8]


def test_from_torch_keeps_the_graph_of_sparse_tensors():
    torch = pytest.importorskip("torch")
    values = torch.tensor([1.0, 2.0], requires_grad=True)
    A = sc.CSR(([1.0, 1.0], [0, 1], [0, 2]), shape=(1, 2)).with_data(values)
    sc.CSR.from_torch(A.to_torch()).data.mul(3).sum().backward()
    assert values.grad.tolist() == [3, 3]
    values.grad = None
    coo = torch.sparse_coo_tensor([[0, 0], [1, 0]], values, (1, 2), check_invariants=True)
    sc.CSR.from_torch(coo).data.mul(torch.tensor([5.0, 7.0])).sum().backward()
    assert values.grad.tolist() == [7, 5]


def test_from_torch_refuses_other_layouts_and_ranks():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="ndarray"):
        sc.CSR.from_torch(LECTURE)
    batch = torch.ones(2, 2, 2)
    hybrid = torch.sparse_coo_tensor([[0]], torch.ones(1, 2), (2, 2), check_invariants=True)
    for tensor in (batch, batch.to_sparse(), hybrid):
        with pytest.raises(TypeError, match="axes"):
            sc.CSR.from_torch(tensor)
    with pytest.raises(TypeError, match="CSR: data is on device 'meta', expected 'cpu'"):
        sc.CSR((torch.ones(1, device="meta"), [0], [0, 1]), shape=(1, 1))
    with pytest.raises(TypeError, match="layout"):
        sc.CSR((torch.ones(1).to_sparse(), [0], [0, 1]), shape=(1, 1))


# ---- other values, copies, comparisons ----


def test_with_data_shares_the_structure():
    A = lecture()
    B = A.with_data(np.arange(6, dtype=np.float32))
    assert B._structure is A._structure
    assert A.same_structure(B)
    assert B.dtype == np.float32
    assert A.with_data([1.0] * 6).dtype == np.float64
    with pytest.raises(ValueError, match="length 5, the matrix 6"):
        A.with_data(np.ones(5))
    with pytest.raises(TypeError, match="axes"):
        A.with_data(np.ones((6, 1)))
    with pytest.raises(TypeError, match="int64"):
        A.with_data(np.ones(6, np.int64))


@pytest.mark.parametrize("source", DTYPES, ids=str)
@pytest.mark.parametrize("target", DTYPES, ids=str)
def test_astype(source, target):
    A = lecture(source).astype(target)
    assert A.dtype == target
    np.testing.assert_array_equal(A.toarray(), LECTURE.astype(target))
    with pytest.raises(TypeError, match="int32"):
        A.astype(np.int32)


def test_astype_takes_names_and_dtypes_of_either_library():
    torch = pytest.importorskip("torch")
    assert lecture().astype("bfloat16").dtype == VALUE_DTYPES["bfloat16"]
    assert lecture().astype(torch.bfloat16).dtype == VALUE_DTYPES["bfloat16"]
    A = sc.CSR.from_dense(torch.tensor(LECTURE))
    assert A.astype("float16").dtype == A.astype(torch.float16).dtype == torch.float16
    with pytest.raises(TypeError, match=r"torch\.int32"):
        A.astype(torch.int32)


def test_to_device():
    A = lecture()
    assert A.to("cpu").equals(A)
    with pytest.raises(RuntimeError, match="'cuda'"):
        A.to("cuda")


def test_copies():
    data = np.array([1.0, 2, 3])
    A = sc.CSR((data, [0, 3, 1], [0, 2, 3]), shape=(2, 4))
    for made in (A.copy(), copy.deepcopy(A)):
        assert made.equals(A)
        assert not np.shares_memory(made.data, data)
    assert np.shares_memory(copy.copy(A).data, data)
    assert A.tocsr() is A


def test_deepcopy_of_a_parameter():
    torch = pytest.importorskip("torch")
    data = torch.nn.Parameter(torch.ones(6))
    made = copy.deepcopy(lecture().with_data(data))
    assert isinstance(made.data, torch.nn.Parameter)
    assert made.data is not data


@given(dense_matrices())
def test_equality(W):
    A = sc.CSR.from_dense(W)
    assert A.equals(sc.CSR.from_dense(W.copy()))  # NaN equals NaN here
    assert A.allclose(A.copy(), equal_nan=True)
    assert not A.equals(W)
    other = VALUE_DTYPES["float64" if W.dtype != np.float64 else "float32"]
    with np.errstate(all="ignore"):
        assert not A.equals(A.astype(other))
    if A.nnz:
        changed = A.data.copy()
        changed[-1] = 3
        assert not A.equals(A.with_data(changed))
        assert not A.allclose(A.with_data(changed), equal_nan=True)


def test_allclose_looks_at_the_matrix_and_not_at_the_structure():
    A = lecture()
    extra = sc.CSR(([3.0, 7, 0, 8, 2, 5, 9], [1, 3, 0, 2, 0, 1, 3], [0, 2, 4, 6, 7]), shape=(4, 4))
    assert not A.equals(extra)
    assert not A.same_structure(extra)
    assert A.allclose(extra)
    assert A.allclose(extra.with_data(extra.data * (1 + 5e-6)))
    assert not A.allclose(extra.with_data(extra.data * (1 + 5e-6)), rtol=1e-6)
    assert not A.allclose(extra.with_data(extra.data + 1e-3))
    assert not A.allclose(A.gather_rows([0, 1, 2]))
    assert A.allclose(A.astype(np.float16))


def test_check_sees_values_that_no_longer_fit():
    torch = pytest.importorskip("torch")
    data = torch.ones(6)
    A = lecture().with_data(data)
    data.resize_(4)
    with pytest.raises(ValueError, match="length 4"):
        A.check()
    for other in (torch.ones(1), torch.ones(7), torch.ones(6, 2)):
        data.data = other  # one value would spread over all positions
        with pytest.raises(ValueError, match=r"data has shape .*, expected \(6,\)"):
            A.toarray()


# ---- pickle ----


@given(dense_matrices())
def test_pickle(W):
    A = sc.CSR.from_dense(W)
    made = pickle.loads(pickle.dumps(A))
    assert made.equals(A)
    assert (made.indices.dtype, made.indptr.dtype) == (A.indices.dtype, A.indptr.dtype)


def test_pickle_with_tensor():
    torch = pytest.importorskip("torch")
    A = lecture().with_data(torch.nn.Parameter(torch.arange(6.0)))
    made = pickle.loads(pickle.dumps(A))
    assert isinstance(made.data, torch.nn.Parameter)
    assert made.equals(A)


def test_pickle_is_validated_when_loaded():
    columns = np.array([17, 42], dtype=np.uint8)
    A = sc.CSR(([1.0, 2.0], columns, [0, 1, 2]), shape=(2, 99))
    content = pickle.dumps(A)
    assert content.count(columns.tobytes()) == 1
    with pytest.raises(IndexError, match="row 1 at position 1"):
        pickle.loads(content.replace(columns.tobytes(), b"\x11\xff"))
    offsets = np.array([0, 1, 2], dtype=np.uint8).tobytes()
    assert content.count(offsets) == 1
    with pytest.raises(ValueError, match="row 1"):
        pickle.loads(content.replace(offsets, b"\x00\x02\x01"))


# ---- what it says of itself ----


def test_repr_is_one_line():
    assert repr(lecture(np.float16)) == (
        "<CSR 4x4, nnz=6 (density 37.5%), float16, columns uint8, offsets uint8, 23 bytes>"
    )


def test_properties():
    A = lecture(np.float32)
    assert (A.shape, A.nnz, A.format, A.device) == ((4, 4), 6, "csr", "cpu")
    assert (A.density, A.sparsity) == (0.375, 0.625)
    storage = A.storage()
    assert (storage.values, storage.columns, storage.row_offsets) == (24, 6, 5)
    assert (storage.total, storage.dense, storage.ratio) == (35, 64, 35 / 64)
