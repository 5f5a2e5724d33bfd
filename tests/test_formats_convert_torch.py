"""COO and CSR from torch's tensors and to them: the same values, no copies of them."""

import pytest

import sparsecore as sc
from format_cases import LECTURE, lecture, unordered
from sparsecore.interop import VALUE_DTYPES


@pytest.mark.parametrize("name", list(VALUE_DTYPES))
def test_csr_round_trips(name):
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


def test_csr_sums_duplicates_of_sparse_coo():
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


def test_csr_values_are_the_same_object_and_indices_int64_copies():
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


def test_csr_refuses_other_layouts_and_ranks():
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


@pytest.mark.parametrize("name", list(VALUE_DTYPES))
def test_coo_round_trip_keeps_order_and_duplicates(name):
    torch = pytest.importorskip("torch")
    data = torch.tensor([1.0, 2.0, 4.0]).to(getattr(torch, name))
    A = sc.COO((data, (torch.tensor([1, 0, 1]), torch.tensor([2, 3, 2]))), shape=(2, 4))
    assert A.data is data
    assert (A.row.dtype, A.col.dtype) == (torch.int64, torch.int64)
    there = A.to_torch()
    assert there.layout == torch.sparse_coo
    assert not there.is_coalesced()
    assert sc.COO.from_torch(there).equals(A)
    assert A.equals(unordered(VALUE_DTYPES[name]))
    assert A.toarray().tolist() == [[0, 0, 0, 2], [0, 0, 5, 0]]
    assert sc.COO.from_torch(A.toarray()).equals(A.sum_duplicates())
    assert sc.COO.from_torch(A.tocsr().to_torch()).equals(A.sum_duplicates())
