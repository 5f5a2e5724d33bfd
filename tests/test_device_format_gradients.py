"""Gradients through conversions of matrices on a CUDA device, by finite differences in float64."""

import numpy as np
import pytest

import sparsecore as sc
from device_format_cases import back, there

pytestmark = pytest.mark.gpu

DENSE = np.array([[0.0, 3, 0, 7], [0, 0, 8, 0], [2, 5, 0, 0]])


def leaf(array, gpu):
    return there(np.asarray(array, np.float64), gpu).requires_grad_()


def check(function, *leaves):
    """Check first and second derivatives of a weighted sum of squares of what is returned."""
    from torch.autograd import gradcheck, gradgradcheck

    def weighted(*inputs):
        squares = function(*inputs).reshape(-1) ** 2
        return (squares * there(np.arange(1.0, 1 + len(squares)), squares.device)).sum()

    assert gradcheck(weighted, leaves)
    assert gradgradcheck(weighted, leaves)


def test_from_dense(gpu):
    W = leaf(DENSE, gpu)
    A = sc.CSR.from_dense(W)
    (A.data**2).sum().backward()
    assert np.array_equal(back(W.grad), 2 * DENSE)


def test_toarray(gpu):
    A = sc.CSR.from_dense(there(DENSE, gpu))
    check(lambda data: A.with_data(data).toarray(), leaf([1, 2, 3, 4, 5], gpu))


def test_transpose(gpu):
    A = sc.CSR.from_dense(there(DENSE, gpu))
    check(lambda data: A.with_data(data).T.tocsr().data, leaf([1, 2, 3, 4, 5], gpu))


def test_gather_rows(gpu):
    A = sc.CSR.from_dense(there(DENSE, gpu))
    check(lambda data: A.with_data(data).gather_rows([2, 0, 2]).data, leaf(range(5), gpu))


@pytest.mark.parametrize("method", ["tocsr", "sum_duplicates"])
@pytest.mark.parametrize("is_sorted", [False, True])
def test_sums_of_duplicates(gpu, is_sorted, method):
    row, col = np.array([1, 0, 1, 0, 1]), np.array([2, 0, 2, 1, 2])
    if is_sorted:
        row, col = np.sort(row), np.array([0, 1, 2, 2, 2])

    def summed(data):
        A = sc.COO((data, (there(row, gpu), there(col, gpu))), (2, 3))
        return getattr(A, method)().data

    check(summed, leaf([1, 2, 3, 4, 5], gpu))


def test_unsorted_rows(gpu):
    def data_of(data):
        return sc.CSR((data, [2, 0, 1, 0], [0, 3, 4]), (2, 3)).data

    check(data_of, leaf([1, 2, 3, 4], gpu))


def test_edits(gpu):
    def edited(data):
        A = sc.COO((data, ([0, 1, 0], [0, 1, 2])), (2, 3))
        return A.append([7.0], ([1], [0])).drop([1]).data

    check(edited, leaf([1, 2, 3], gpu))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_gradients_have_the_dtype_of_the_values(gpu, dtype):
    torch = sc.interop.import_torch()
    data = torch.ones(3, dtype=getattr(torch, dtype), device=gpu, requires_grad=True)
    A = sc.COO((data, ([0, 0, 1], [0, 0, 1])), (2, 2)).tocsr()
    assert A.dtype == data.dtype
    A.data.sum().backward()
    assert data.grad.dtype == data.dtype
    assert back(data.grad).astype(float).tolist() == [1, 1, 1]


def test_nothing_is_recorded_without_need(gpu):
    A = sc.CSR.from_dense(there(DENSE, gpu))
    assert not any(x.requires_grad for x in (A.data, A.toarray(), A.T.tocsr().data))
    torch = sc.interop.import_torch()
    with torch.no_grad():
        B = sc.COO((leaf([1, 2, 3], gpu), ([0, 0, 1], [0, 0, 1])), (2, 2)).tocsr()
    assert not B.data.requires_grad
    assert back(B.data).tolist() == [3, 3]
