"""What waits for the device: products for nothing, what makes a matrix as often as documented."""

import ctypes
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import cases
import device_cases
import sparsecore as sc
from device_cases import back, tensor
from oracle import F16, F32, I8
from sparsecore import _core

torch = pytest.importorskip("torch", reason="torch is not installed")

from device_waits import counted, skip_if_not_counted  # noqa: E402

pytestmark = pytest.mark.gpu

# Of 80 entries; of more than a piece of work has (256, csrc/cuda/pieces.h), in short rows, and in
# rows that are split.
FEW, SHORT, LONG = (4, 30), (20, 30), (3, 450)


def pattern(shape, dtype=F32):
    dense = cases.numbers(np.random.default_rng(1), shape, dtype)
    dense[:, 1::3] = 0
    return dense


def waits(patch, call):
    skip_if_not_counted()
    with counted(patch) as found:
        call()
    assert found.with_gil == 0
    return found.synchronizations, found.torch


# ---- products ----


def products(A, gpu, rows, dtype):
    """Return calls of every kind on a matrix or a plan."""
    m, k = A.shape
    rng = np.random.default_rng(2)
    X, Z = (tensor(cases.numbers(rng, (n, 9), dtype), gpu) for n in (k, m))
    few, out = X[:, :2], torch.empty_like(A @ X)
    bias = None if dtype == I8 else tensor(cases.numbers(rng, m, dtype), gpu)
    return {
        "matmul": lambda: sc.csr_matmul(A, X),
        "few columns": lambda: sc.csr_matmul(A, few),
        "vector": lambda: A @ X[:, 0],
        "out": lambda: sc.csr_matmul(A, X, out=out),
        "column-major": lambda: A @ X.t().contiguous().t(),
        "linear": lambda: sc.linear(X.t(), A, bias, activation=None if dtype == I8 else "relu"),
        "from the left": lambda: Z.t() @ A,
        "sddmm": lambda: sc.csr_sddmm(rows, Z, X),
    }


@pytest.mark.parametrize(
    ("kernel", "dtype", "shape"),
    [
        *((kernel, dtype, FEW) for kernel in (None, "rows") for dtype in (F32, F16, I8)),
        *((kernel, F32, FEW) for kernel in ("merge", "tf32", "3xtf32")),
        *((kernel, F16, FEW) for kernel in ("bitmap", "delta4", "delta8")),
        (None, F32, LONG),
        ("rows", F16, LONG),
    ],
    ids=str,
)
def test_products_wait_for_nothing_after_their_first_call(kernel, dtype, shape, gpu, monkeypatch):
    A = device_cases.operand(pattern(shape, dtype), gpu).matrix
    P = A if kernel is None else A.prepare(n=2, kernel=kernel)
    for name, call in products(P, gpu, A, dtype).items():
        call()
        assert waits(monkeypatch, call) == (0, ()), name


def test_products_wait_for_nothing_the_first_time_where_the_transpose_is_there(gpu, monkeypatch):
    A = device_cases.operand(pattern(LONG), gpu).matrix
    P = A.prepare(backward=True)
    for name, call in products(P, gpu, A, F32).items():
        assert waits(monkeypatch, call) == (0, ()), name


def test_gradients_and_updates_wait_for_nothing_after_the_first(gpu, monkeypatch):
    A = device_cases.operand(pattern(SHORT), gpu).matrix
    data = A.data.clone().requires_grad_()
    B = A.with_data(data)
    X = tensor(cases.numbers(np.random.default_rng(2), (30, 9), F32), gpu).requires_grad_()

    def trained():
        torch.autograd.grad((B @ X).sum(), (data, X))

    trained()
    assert waits(monkeypatch, trained) == (0, ())
    narrow = A.astype("float16")
    for matrix, kernel in ((A, "rows"), (A, "merge"), (A, "tf32"), (narrow, "bitmap")):
        matrix.T.tocsr()
        P = matrix.prepare(backward=True, kernel=kernel)
        for call in (lambda P=P, m=matrix: P.update(m.data), P.unpack):
            assert waits(monkeypatch, call) == (0, ())
        again = {"backward": True, "kernel": kernel}
        assert waits(monkeypatch, lambda m=matrix, o=again: m.prepare(**o)) == (0, ())
    # How many steps there are is read once, when a plan is made.
    P = A.astype("float16").prepare(kernel="delta4")
    assert waits(monkeypatch, lambda: P.update(P.unpack())) == (0, ())
    assert waits(monkeypatch, lambda: A.astype("float16").prepare(kernel="delta4"))[0] == 1
    # And for few columns how long rows are.
    assert waits(monkeypatch, lambda: A.prepare(n=8)) == (0, ("to_host",))
    assert waits(monkeypatch, lambda: A.prepare(n=9)) == (0, ())


# ---- what makes a matrix: the numbers of docs/cuda.md ----


def arrays(A):
    return A.data, A.indices, A.indptr


@pytest.mark.parametrize(
    ("shape", "looks", "splits"), [(FEW, 0, 0), (SHORT, 1, 0), (LONG, 1, 1)], ids=str
)
def test_constructions_wait_as_often_as_documented(shape, looks, splits, gpu, monkeypatch):
    W = tensor(pattern(shape), gpu)
    A = sc.CSR.from_dense(W)
    data, indices, indptr = A.data, A.indices, A.indptr
    row = torch.arange(shape[0], device=gpu).repeat_interleave(indptr.diff())
    ids = torch.arange(shape[0], device=gpu).flip(0)
    ascending = sc.COO((data, (row, indices)), shape)
    descending = sc.COO((data.flip(0), (row.flip(0), indices.flip(0))), shape)
    pieces = looks + splits
    expected = {
        "dense": (1 + pieces, lambda: sc.CSR.from_dense(W)),
        "arrays": (1 + splits, lambda: sc.CSR((data, indices, indptr), shape)),
        "coordinates": (2, lambda: sc.COO((data, (row, indices)), shape)),
        "sorted triplets": (1 + pieces, ascending.tocsr),
        "triplets": (2 + pieces, descending.tocsr),
        "rows": (1 + pieces, lambda: A.gather_rows(ids)),
        "transpose": (1 + looks, A.T.tocsr),  # whose rows are short
        "the same again": (0, A.T.tocsr),
        "dense of it": (0, A.toarray),
    }
    for name, (count, make) in expected.items():
        assert waits(monkeypatch, make) == (count, ()), name


def test_duplicates_are_counted_once_more(gpu, monkeypatch):
    data = torch.ones(4, device=gpu)
    row, col = (torch.tensor(index, device=gpu) for index in ([0, 1, 1, 1], [2, 0, 0, 1]))
    coo = sc.COO((data, (row, col)), (2, 3))
    assert waits(monkeypatch, coo.tocsr) == (2, ())
    narrow = sc.COO((data.to(torch.int8), (row, col)), (2, 3))
    assert waits(monkeypatch, narrow.tocsr) == (3, ())  # whether the sums fit


def test_a_wait_that_keeps_the_gil_is_seen(gpu, monkeypatch):
    """What the other tests count: a wait of torch's, and one of ours with the GIL held."""
    skip_if_not_counted()
    with_gil = ctypes.PyDLL(_core.__file__)
    with counted(monkeypatch) as found:
        assert torch.ones(2, device=gpu).sum().item() == 2
        with_gil.simt_note_synchronization()
    assert (found.synchronizations, found.with_gil) == (1, 1)
    assert "aten::item" in found.torch


def test_threads_make_matrices_at_once(gpu):
    W = [tensor(pattern(shape), gpu) for shape in (FEW, SHORT, LONG)]
    want = [back(sc.CSR.from_dense(w).T.toarray()) for w in W]

    def made(i):
        A = sc.CSR.from_dense(W[i % 3])
        ids = torch.arange(A.shape[0], device=gpu)
        return back(A.gather_rows(ids).T.tocsr().toarray()), back(A @ W[i % 3].t().contiguous())

    with ThreadPoolExecutor(4) as pool:
        for i, (turned, square) in enumerate(pool.map(made, range(12))):
            assert (turned == want[i % 3]).all()
            assert np.allclose(square, want[i % 3].T @ want[i % 3], rtol=1e-4, atol=1e-4)


def test_memory_that_runs_out_is_the_callers_error(gpu):
    W, left = tensor(pattern(LONG), gpu), 3

    def allocate(nbytes):
        nonlocal left
        left -= 1
        if left < 0:
            msg = "no more memory"
            raise MemoryError(msg)
        return torch.empty(nbytes, dtype=torch.uint8, device=gpu)

    with pytest.raises(MemoryError, match="no more memory"):
        _core.device_csr_from_dense(W, allocate, 0)
    assert left == -1


def test_24_waits_where_it_is_looked_over_only(gpu, monkeypatch):
    W = device_cases.tensor(pattern(FEW, F16), gpu)
    made = []
    assert waits(monkeypatch, lambda: made.append(sc.Sparse24.from_dense(W, prune=True)))[0] == 0
    S = made[0]
    assert waits(monkeypatch, lambda: sc.Sparse24.from_dense(S.toarray()))[0] == 1
    for n in (2, 200):
        X = torch.ones(W.shape[1], n, dtype=torch.float16).to(gpu)
        assert waits(monkeypatch, lambda X=X: S @ X) == (0, ())
        assert waits(monkeypatch, lambda X=X: sc.linear(X.t(), S)) == (0, ())
