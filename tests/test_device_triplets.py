"""COO matrices on a CUDA device: made, edited and turned into CSR, beside scipy."""

import numpy as np
import pytest
import scipy.sparse

import sparsecore as sc
from device_format_cases import assert_is, back, canonical, coo_there, random_arrays, there

pytestmark = pytest.mark.gpu


def scipy_coo(triplets, shape):
    return scipy.sparse.coo_array((triplets[0], triplets[1:]), shape=shape)


def host_coo(triplets, shape):
    return sc.COO((triplets[0], triplets[1:]), shape)


# Keys of the last take 64 bits.
SHAPES = [(1, 1), (1, 300), (300, 1), (7, 11), (300, 70000), (3000, 300), (300, 2**40)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("nnz", [0, 1, 500])
def test_to_csr(gpu, shape, nnz):
    triplets = random_arrays(np.random.default_rng(nnz), shape, nnz)
    expected = canonical(scipy_coo(triplets, shape))
    assert_is(coo_there(triplets, shape, gpu).tocsr(), expected)


@pytest.mark.parametrize("by_rows", [False, True])
def test_order_of_the_entries_makes_no_difference(gpu, by_rows):
    data, row, col = random_arrays(np.random.default_rng(5), (9, 400), 900)
    order = np.lexsort((col, row) if by_rows else (row, col))
    triplets = data[order], row[order], col[order]
    A = coo_there(triplets, (9, 400), gpu).tocsr()
    assert_is(A, canonical(scipy_coo(triplets, (9, 400))))


def test_everything_at_one_coordinate(gpu):
    triplets = np.ones(600, np.float32), np.full(600, 2), np.full(600, 3)
    assert_is(coo_there(triplets, (4, 5), gpu).tocsr(), canonical(scipy_coo(triplets, (4, 5))))


@pytest.mark.parametrize("is_sorted", [False, True])
def test_without_duplicates(gpu, is_sorted):
    flat = np.random.default_rng(0).permutation(60)[:40]
    flat = np.sort(flat) if is_sorted else flat
    triplets = np.arange(40, dtype=np.float64), flat // 10, flat % 10
    A = coo_there(triplets, (6, 10), gpu)
    assert_is(A.tocsr("error"), canonical(scipy_coo(triplets, (6, 10))))


@pytest.mark.parametrize("width", ["int8", "uint8", "int32", "int64", "uint16"])
def test_indices_of_any_width(gpu, width):
    A = coo_there((np.ones(2), np.array([1, 0], width), np.array([0, 1], width)), (2, 2), gpu)
    assert back(A.toarray()).tolist() == [[0, 1], [1, 0]]


def test_sum_duplicates(gpu):
    triplets = random_arrays(np.random.default_rng(6), (5, 700), 1200)
    A = coo_there(triplets, (5, 700), gpu).sum_duplicates()
    expected = canonical(scipy_coo(triplets, (5, 700))).tocoo()
    assert np.array_equal(back(A.row), expected.row)
    assert np.array_equal(back(A.col), expected.col)
    assert np.array_equal(back(A.data), expected.data)
    assert (back(A._row).dtype, back(A._col).dtype) == (np.uint8, np.uint16)


def test_entries_keep_their_order(gpu):
    triplets = random_arrays(np.random.default_rng(7), (300, 70000), 50)
    A, host = coo_there(triplets, (300, 70000), gpu), host_coo(triplets, (300, 70000))
    for mine, given in zip((A.data, A.row, A.col), triplets, strict=True):
        assert np.array_equal(back(mine), given)
    assert repr(A) == repr(host)
    assert (A.nbytes, A.storage()) == (host.nbytes, host.storage())


def test_append(gpu):
    A = coo_there((np.ones(2), np.array([0, 299]), np.array([0, 69999])), (300, 70000), gpu)
    B = A.append([5.0], ([298], [69998])).append(there(np.array([6.0]), gpu), ([0], [1]))
    assert back(B.data).tolist() == [1, 1, 5, 6]
    assert back(B.row).tolist() == [0, 299, 298, 0]
    assert back(B.col).tolist() == [0, 69999, 69998, 1]
    assert A.nnz == 2


def test_drop(gpu):
    triplets = random_arrays(np.random.default_rng(8), (300, 70000), 20)
    A, host = coo_there(triplets, (300, 70000), gpu), host_coo(triplets, (300, 70000))
    assert A.drop(A.data < 0).equals(host.drop(host.data < 0))
    assert A.drop([0, -1, 7]).equals(host.drop([0, -1, 7]))
    assert A.drop(there(np.array([3]), gpu)).equals(host.drop([3]))


def test_transpose_and_dense(gpu):
    triplets = random_arrays(np.random.default_rng(9), (6, 9), 30)
    A, expected = coo_there(triplets, (6, 9), gpu), scipy_coo(triplets, (6, 9)).toarray()
    assert np.array_equal(back(A.T.toarray()), expected.T)
    assert np.array_equal(A.to_scipy().toarray(), expected)
    assert np.array_equal(back(A.to_torch().to_dense()), expected)
    assert np.array_equal(back(sc.COO.from_torch(A.to_torch()).toarray()), expected)


def test_comparisons(gpu):
    triplets = random_arrays(np.random.default_rng(10), (6, 9), 30)
    A, host = coo_there(triplets, (6, 9), gpu), host_coo(triplets, (6, 9))
    assert A.equals(host)
    assert host.equals(A)
    assert A.allclose(host.sum_duplicates())
    assert not A.equals(A.T)
    assert not A.equals(A.append([1.0], ([0], [0])))
    A.check()
