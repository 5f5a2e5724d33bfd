"""Plans: what `prepare` makes works wherever the matrix does, and snapshots the values."""

import copy
import pickle

import numpy as np
import pytest

import cases
import oracle
import sparsecore as sc
from oracle import DTYPES, F32


def small(dtype=np.float64):
    return sc.CSR.from_dense(np.array([[0, 2, 0], [1, 0, 3]], dtype))


def test_it_says_what_it_is():
    A = small(np.float16)
    P = A.prepare()
    assert (P.shape, P.nnz, P.dtype, P.device) == ((2, 3), 3, np.float16, "cpu")
    assert isinstance(P.kernel, str)
    assert P.nbytes >= A.data.nbytes
    for part in ("Plan", "2x3", "nnz=3", "float16", P.kernel):
        assert part in repr(P)


def test_the_hints_are_checked():
    A = small()
    for n in (0, 1, 4096, 4097, 12544, 10**6):
        for backward in (False, True):
            assert (A.prepare(n=n, backward=backward) @ np.ones(3)).tolist() == [2, 4]
    with pytest.raises(ValueError, match="prepare: n is -1"):
        A.prepare(n=-1)
    for bad in (1.5, "8", True):
        with pytest.raises(TypeError, match="prepare: n"):
            A.prepare(n=bad)
    with pytest.raises(TypeError, match="prepare: backward"):
        A.prepare(backward=1)
    with pytest.raises(TypeError):
        A.prepare(8)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_snapshot_update_unpack(dtype):
    data = np.array([2, 1, 3], dtype)
    A = sc.CSR((data, [1, 0, 2], [0, 1, 3]), shape=(2, 3))
    P = A.prepare()
    data[:] = 100  # the caller's array is A's, not P's
    assert A.data.tolist() == [100] * 3
    assert (P @ np.ones(3, dtype)).tolist() == [2, 4]
    unpacked = P.unpack()
    assert unpacked.dtype == dtype
    assert unpacked.tolist() == [2, 1, 3]
    unpacked[:] = 50
    assert P.unpack().tolist() == [2, 1, 3]
    new = np.array([5, 6, 7], dtype)
    P.update(new)
    new[:] = 9
    assert (P @ np.ones(3, dtype)).tolist() == [5, 13]
    P.update(np.array([1, 9, 2, 9, 3, 9], dtype)[::2])
    assert P.unpack().tolist() == [1, 2, 3]


def test_update_refuses_other_lengths_and_dtypes():
    P = small().prepare()
    for bad in (np.ones(2), np.ones(4), np.ones(0)):
        with pytest.raises(ValueError, match=f"{len(bad)}"):
            P.update(bad)
    with pytest.raises((TypeError, ValueError), match="data"):
        P.update(np.ones((3, 1)))
    for bad in (np.ones(3, np.float32), np.ones(3, int), [1.0] * 3, None):
        with pytest.raises(TypeError, match="data"):
            P.update(bad)
    assert (P @ np.ones(3)).tolist() == [2, 4]


@pytest.mark.usefixtures("target")
def test_it_works_wherever_the_matrix_does():
    rng = np.random.default_rng(33)
    W = cases.random_dense(rng, (9, 12), 0.4, F32)
    A = sc.CSR.from_dense(W)
    P = A.prepare()
    X, x = cases.numbers(rng, (12, 4), F32), cases.numbers(rng, (3, 12), F32)
    U = cases.numbers(rng, (9, 5), F32)
    V = cases.numbers(rng, (12, 5), F32)
    for with_plan, with_matrix in (
        (P @ X, A @ X),
        (P @ X[:, 0], A @ X[:, 0]),
        (sc.csr_matmul(P, X, threads=2), A @ X),
        (U.T @ P, U.T @ A),
        (U[:, 0] @ P, U[:, 0] @ A),
        (sc.linear(x, P, activation="relu"), sc.linear(x, A, activation="relu")),
        (sc.csr_sddmm(P, U, V), sc.csr_sddmm(A, U, V)),
    ):
        assert (oracle.bits(with_plan) == oracle.bits(with_matrix)).all()


def test_empty_plans():
    for shape in ((0, 0), (0, 3), (3, 0), (2, 3)):
        P = sc.CSR.from_dense(np.zeros(shape)).prepare()
        assert (P @ np.ones((shape[1], 2))).tolist() == np.zeros((shape[0], 2)).tolist()
        P.update(np.empty(0))
        assert len(P.unpack()) == 0


def test_torch_plans_give_torch():
    torch = pytest.importorskip("torch")
    A = sc.CSR.from_dense(torch.tensor([[0, 2, 0], [1, 0, 3.0]], dtype=torch.bfloat16))
    P = A.prepare()
    assert P.dtype == torch.bfloat16
    assert P.device == torch.device("cpu")
    assert torch.equal(P.unpack(), A.data)
    P.update(torch.nn.Parameter(torch.tensor([4, 5, 6], dtype=torch.bfloat16)))
    assert torch.equal(P @ torch.ones(3), torch.tensor([4.0, 11.0]))
    with pytest.raises(TypeError, match="data"):
        P.update(torch.ones(3))


def test_pickle_and_copy():
    A = sc.CSR.from_dense(np.diag([1.0, 2, 3]))
    for P in (pickle.loads(pickle.dumps(A.prepare())), copy.deepcopy(A.prepare())):
        assert (P @ np.ones(3)).tolist() == [1, 2, 3]
