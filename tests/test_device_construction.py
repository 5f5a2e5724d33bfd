"""CSR arrays on a CUDA device: checked, narrowed, sorted and summed, beside scipy."""

import numpy as np
import pytest
import scipy.sparse

import sparsecore as sc
from device_format_cases import (
    assert_is,
    back,
    canonical,
    compressed,
    coo_there,
    csr_there,
    one_long_row,
    random_arrays,
    there,
)
from sparsecore import interop

pytestmark = pytest.mark.gpu


def arrays_of(matrix):
    return matrix.data, matrix.indices, matrix.indptr


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0), (1, 1), (1, 300), (300, 1), (37, 61)])
def test_sorted_arrays_are_kept(gpu, shape):
    expected = canonical(scipy.sparse.random_array(shape, density=0.3, rng=2, dtype=np.float32))
    assert_is(csr_there(arrays_of(expected), shape, gpu), expected)


def test_one_entry(gpu):
    expected = canonical(np.array([[5.0]]))
    assert_is(csr_there(arrays_of(expected), (1, 1), gpu), expected)


def test_unsorted_rows_are_sorted(gpu):
    arrays = compressed(one_long_row(np.random.default_rng(1)), 9)
    A = csr_there(arrays, (9, 1100), gpu)
    assert_is(A, canonical(scipy.sparse.csr_array(arrays, shape=(9, 1100))))


def test_values_that_need_no_sorting_are_shared(gpu):
    expected = canonical(scipy.sparse.random_array((9, 9), density=0.5, rng=2))
    data = there(expected.data, gpu)
    A = sc.CSR((data, there(expected.indices, gpu), there(expected.indptr, gpu)), (9, 9))
    assert A.data is data


@pytest.mark.parametrize("nnz", [0, 1, 40, 700])
def test_duplicates_are_summed(gpu, nnz):
    arrays = compressed(random_arrays(np.random.default_rng(nnz), (11, 13), nnz), 11)
    A = csr_there(arrays, (11, 13), gpu, duplicates="sum")
    assert_is(A, canonical(scipy.sparse.csr_array(arrays, shape=(11, 13))))


@pytest.mark.parametrize("cols", [256, 257, 65536, 65537])
def test_width_of_columns(gpu, cols):
    dense = np.zeros((2, cols), np.float32)
    dense[0, [0, cols - 1]] = 1, 2
    expected = canonical(dense)
    assert_is(csr_there(arrays_of(expected), (2, cols), gpu), expected)


@pytest.mark.parametrize("nnz", [255, 256, 65536])
def test_width_of_offsets(gpu, nnz):
    indptr, cols = np.array([0, 3, nnz]), nnz
    columns = np.concatenate([np.arange(3), np.arange(nnz - 3)])
    A = csr_there((np.ones(nnz, np.int8), columns, indptr), (2, cols), gpu)
    assert back(A._structure.indptr).itemsize == (1 if nnz < 256 else 2 if nnz < 65536 else 4)
    assert back(A.indptr).tolist() == indptr.tolist()


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"])
def test_every_integer_is_an_index(gpu, dtype):
    arrays = np.ones(3), np.array([1, 0, 2], dtype), np.array([0, 1, 3], dtype)
    A = csr_there(arrays, (2, 3), gpu)
    assert back(A.toarray()).tolist() == [[0, 1, 0], [1, 0, 1]]


def test_strided_arrays(gpu):
    data, columns = there(np.arange(12.0), gpu)[::2], there(np.arange(12) % 6, gpu)[::3]
    A = sc.CSR((data[:4], columns, [0, 2, 4]), (2, 4))
    assert back(A.toarray()).tolist() == [[0, 0, 0, 2], [4, 0, 0, 6]]


def test_sequences_go_where_the_values_are(gpu):
    A = sc.CSR((there(np.ones(2), gpu), [1, 0], range(3)), (2, 2))
    assert back(A.toarray()).tolist() == [[0, 1], [1, 0]]


def test_empty_sequences(gpu):
    A = sc.CSR((there(np.ones(0), gpu), [], [0]), (0, 4))
    assert (A.shape, A.nnz) == ((0, 4), 0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_sums_have_the_bits_of_the_host(gpu, dtype):
    rng = np.random.default_rng(3)
    row, col = rng.integers(0, 4, 200), rng.integers(0, 4, 200)
    data = rng.standard_normal(200).astype(interop.VALUE_DTYPES[dtype])
    host = sc.COO((data, (row, col)), (4, 4)).tocsr()
    A = coo_there((data, row, col), (4, 4), gpu).tocsr()
    assert back(A.data).tobytes() == host.data.tobytes()


def test_negative_zeros_sum_to_one(gpu):
    arrays = np.array([-0.0, -0.0], np.float16), np.array([0, 0]), np.array([0, 2])
    A = csr_there(arrays, (1, 1), gpu, duplicates="sum")
    assert np.signbit(back(A.data)).tolist() == [True]


def test_what_it_says_of_itself_is_what_the_host_says(gpu):
    expected = canonical(scipy.sparse.random_array((20, 300), density=0.3, rng=2))
    A, host = csr_there(arrays_of(expected), (20, 300), gpu), sc.CSR.from_scipy(expected)
    assert repr(A) == repr(host)
    assert (A.nbytes, A.storage()) == (host.nbytes, host.storage())
    assert A.device == there(np.ones(1), gpu).device
    assert np.array_equal(back(A.indices), host.indices)
    assert back(A.indices).dtype == back(A.indptr).dtype == np.int64
