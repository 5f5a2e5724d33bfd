"""Plans on a device: they work wherever the matrix does, and snapshot the values."""

import copy
import pickle

import numpy as np
import pytest

import cases
import device_cases
import oracle
import sparsecore as sc
from device_cases import back, tensor
from oracle import DTYPES, F32, I8

torch = pytest.importorskip("torch", reason="torch is not installed")

pytestmark = pytest.mark.gpu


def small(gpu, dtype=np.float64):
    return device_cases.operand(np.array([[0, 2, 0], [1, 0, 3]], dtype), gpu).matrix


def test_it_says_what_it_is(gpu):
    A = small(gpu, np.float16)
    P = A.prepare(n=40, by_rows=True)
    assert (P.shape, P.nnz, P.dtype, P.kernel) == ((2, 3), 3, torch.float16, "rows")
    assert P.device == A.data.device
    assert P.nbytes == A.data.nbytes
    assert A.prepare(backward=True).nbytes > 2 * P.nbytes
    assert repr(P) == "<Plan 2x3, nnz=3, float16, kernel rows, 6 bytes>"


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_products_are_those_of_the_matrix(dtype, backward, gpu):
    rng = np.random.default_rng(1)
    A = device_cases.random_operand(rng, (10, 20), 0.3, dtype, gpu).matrix
    P = A.prepare(backward=backward)
    X, Z = (tensor(cases.numbers(rng, (n, 9), dtype), gpu) for n in (20, 10))
    for got, want in (
        (P @ X, A @ X),
        (P @ X[:, 0], A @ X[:, 0]),
        (Z.t() @ P, Z.t() @ A),
        (sc.linear(X.t(), P), sc.linear(X.t(), A)),
        (sc.csr_sddmm(P, Z, X), sc.csr_sddmm(A, Z, X)),
        (sc.csr_matmul(P, X, out=torch.empty_like(A @ X)), A @ X),
    ):
        assert got.dtype == want.dtype
        assert got.stride() == want.stride()
        assert (oracle.bits(back(got)) == oracle.bits(back(want))).all()


def test_factors_and_what_follows(gpu):
    rng = np.random.default_rng(2)
    A = device_cases.random_operand(rng, (10, 20), 0.3, I8, gpu).matrix
    x = tensor(cases.numbers(rng, (4, 20), F32), gpu)
    given = {"scale": torch.rand(10, device=gpu), "bias": torch.rand(10, device=gpu)}
    got, want = (sc.linear(x, left, activation="gelu", **given) for left in (A.prepare(), A))
    assert (back(got) == back(want)).all()


@pytest.mark.parametrize("backward", [False, True])
def test_snapshot_update_unpack(backward, gpu):
    A = small(gpu)
    P = A.prepare(backward=backward)
    ones, turned = (torch.ones(n, dtype=torch.float64, device=gpu) for n in (3, 2))
    A.data.fill_(100.0)  # the caller's tensor is A's, not P's
    assert (P @ ones).tolist() == [2, 4]
    assert (turned @ P).tolist() == [1, 2, 3]
    unpacked = P.unpack()
    assert unpacked.tolist() == [2, 1, 3]
    unpacked.fill_(50.0)
    new = torch.tensor([5.0, 6, 7], dtype=torch.float64, device=gpu)
    P.update(new)
    new.fill_(9.0)
    assert (P @ ones).tolist() == [5, 13]
    assert (turned @ P).tolist() == [6, 5, 7]
    P.update(torch.tensor([1.0, 9, 2, 9, 3, 9], dtype=torch.float64, device=gpu)[::2])
    assert P.unpack().tolist() == [1, 2, 3]


def test_update_refuses_other_lengths_dtypes_and_kinds(gpu):
    P = small(gpu).prepare()
    for shape in ((2,), (4,), (0,), (3, 1)):
        with pytest.raises(ValueError, match=r"Plan.update: data has shape .*, expected \(3,\)"):
            P.update(torch.ones(shape, dtype=torch.float64, device=gpu))
    expected = r"expected a torch.float64 tensor on"
    for bad in (torch.ones(3, device=gpu), np.ones(3), [1.0] * 3, None):
        with pytest.raises(TypeError, match=f"Plan.update: data is a .*, {expected}"):
            P.update(bad)
    assert P.unpack().tolist() == [2, 1, 3]


def test_kernels_of_the_host_are_refused(gpu):
    A = small(gpu)
    assert A.prepare(kernel="rows").kernel == "rows"
    for kernel in ("row_sweep", "rowS"):
        with pytest.raises(ValueError, match=f"prepare: kernel is '{kernel}', expected None or"):
            A.prepare(kernel=kernel)
    with pytest.raises(ValueError, match="prepare: kernel is 'rows'"):
        sc.CSR.from_dense(np.eye(2)).prepare(kernel="rows")


def test_values_of_another_number_are_refused(gpu):
    A = small(gpu)
    A.data.data = torch.ones(2, dtype=torch.float64, device=gpu)
    with pytest.raises(ValueError, match=r"prepare: A.data has shape \(2,\), expected \(3,\)"):
        A.prepare()
    with pytest.raises(ValueError, match=r"csr_matmul: A.data has shape \(2,\), expected 3 items"):
        A @ torch.ones(3, 2, dtype=torch.float64, device=gpu)


def test_copies_and_pickles_are_plans_of_their_own(gpu):
    P = small(gpu).prepare(backward=True)
    x = torch.ones(3, dtype=torch.float64, device=gpu)
    for other in (copy.copy(P), copy.deepcopy(P), pickle.loads(pickle.dumps(P))):
        P.update(torch.tensor([2.0, 1, 3], dtype=torch.float64, device=gpu))
        assert (other.kernel, other.device, other.nbytes) == ("rows", P.device, P.nbytes)
        P.update(torch.zeros(3, dtype=torch.float64, device=gpu))
        assert (other @ x).tolist() == [2, 4]
        P.update(torch.tensor([2.0, 1, 3], dtype=torch.float64, device=gpu))
