"""Gradients reach the values through every construction, conversion and edit."""

import numpy as np
import pytest

import sparsecore as sc
from format_cases import LECTURE


def test_csr_conversions():
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


def test_csr_sorting_and_summing():
    torch = pytest.importorskip("torch")
    data = torch.tensor([1.0, 2, 4, 8], dtype=torch.float64, requires_grad=True)

    def through(data):
        A = sc.CSR((data, [3, 0, 3, 1], [0, 3, 4]), shape=(2, 4), duplicates="sum")
        return A.data, A.astype(torch.float64).to_torch().to_dense()

    assert torch.autograd.gradcheck(through, (data,), masked=False)
    assert through(data)[0].tolist() == [2, 5, 8]


def test_csr_of_sparse_tensors_keeps_their_graph():
    torch = pytest.importorskip("torch")
    values = torch.tensor([1.0, 2.0], requires_grad=True)
    A = sc.CSR(([1.0, 1.0], [0, 1], [0, 2]), shape=(1, 2)).with_data(values)
    sc.CSR.from_torch(A.to_torch()).data.mul(3).sum().backward()
    assert values.grad.tolist() == [3, 3]
    values.grad = None
    coo = torch.sparse_coo_tensor([[0, 0], [1, 0]], values, (1, 2), check_invariants=True)
    sc.CSR.from_torch(coo).data.mul(torch.tensor([5.0, 7.0])).sum().backward()
    assert values.grad.tolist() == [7, 5]


def test_coo_edits():
    torch = pytest.importorskip("torch")
    data = torch.tensor([1.0, 2, 4], dtype=torch.float64, requires_grad=True)
    more = torch.tensor([8.0], dtype=torch.float64, requires_grad=True)

    def edited(data, more):
        A = sc.COO((data, ([1, 0, 1], [2, 3, 2])), shape=(2, 4)).append(more, ([0], [0]))
        return A.sum_duplicates().data, A.drop([1]).toarray()

    assert torch.autograd.gradcheck(edited, (data, more))


@pytest.mark.parametrize("k", [0, 1, 5, 6, 8])
def test_sparse24_gather(k):
    torch = pytest.importorskip("torch")
    W = torch.arange(1.0, 2 * k + 1, dtype=torch.float64).reshape(2, k)
    W[:, 2::4] = W[:, 3::4] = 0
    W.requires_grad_()
    S = sc.Sparse24.from_dense(W)
    assert S.equals(sc.Sparse24.from_dense(W.detach()))
    weights = torch.arange(1.0, S.values.numel() + 1, dtype=torch.float64).reshape(S.values.shape)
    (S.values * weights).sum().backward()
    expected = sc.Sparse24((weights.where(S.values != 0, 0), S.metadata), S.shape).toarray()
    np.testing.assert_array_equal(W.grad[W != 0], expected[W != 0])
    assert S.toarray().requires_grad


def test_sparse24_toarray_and_prune():
    torch = pytest.importorskip("torch")
    values = torch.arange(1.0, 9.0, dtype=torch.float64).reshape(2, 4).requires_grad_()
    metadata = torch.tensor([[0x4E], [0xD8]], dtype=torch.uint8)

    def dense(values):
        return sc.Sparse24((values, metadata), (2, 8)).toarray()

    assert torch.autograd.gradcheck(dense, (values,))
    W = torch.tensor([[1.0, -5.0, 3.0, 2.0, 7.0, 6.0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda W: sc.Sparse24.from_dense(W, prune=True).toarray(), (W,))
