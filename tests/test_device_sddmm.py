"""The sampled product on a device, against float64 on the host."""

import numpy as np
import pytest

import cases
import device_cases
import oracle
import sparsecore as sc
from device_cases import back, tensor
from oracle import DTYPES, F16, F32, I8

torch = pytest.importorskip("torch", reason="torch is not installed")

pytestmark = pytest.mark.gpu


def sampled(operand, U, V):
    """Take a sampled product of two tensors, and compare."""
    d = sc.csr_sddmm(operand.matrix, U, V)
    want = oracle.sampled(*np.nonzero(operand.stored), back(U), back(V))
    oracle.check(back(d), want, f"{tuple(U.shape)}, strides {U.stride()} and {V.stride()}")
    return d


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_and_width(dtype, gpu):
    rng = np.random.default_rng(1)
    operand = device_cases.random_operand(rng, (7, 30), 0.3, F32, gpu)
    for n in (0, 1, 2, 8, 9, 31, 64, 129, 520):
        U, V = (tensor(cases.numbers(rng, (rows, n), dtype), gpu) for rows in (7, 30))
        sampled(operand, U, V)


@pytest.mark.parametrize("n", [5, 40])
def test_every_memory_order(n, gpu):
    rng = np.random.default_rng(2)
    operand = device_cases.random_operand(rng, (7, 30), 0.3, F32, gpu)
    left, right = (tensor(cases.numbers(rng, (rows, 2 * n), F16), gpu) for rows in (14, 60))
    U, V = left[:7, :n].contiguous(), right[:30, :n].contiguous()
    for u, v in (
        (U.t().contiguous().t(), V),
        (U, V.t().contiguous().t()),
        (left[::2, ::2], right[::2, ::2]),
        (left[:7, 1 : n + 1], right[30:, 3 : n + 3]),  # vectors would not be aligned
        (U[:1].expand(7, n), V[:, :1].expand(30, n)),
    ):
        sampled(operand, u, v)


@pytest.mark.parametrize("dtype", [F32, I8], ids=str)
def test_rows_of_several_pieces_and_rows_of_nothing(dtype, gpu):
    rng = np.random.default_rng(3)
    operand = device_cases.operand(device_cases.with_long_rows(rng, F32), gpu)
    for n in (3, 33):
        U, V = (tensor(cases.numbers(rng, (rows, n), dtype), gpu) for rows in (9, 1100))
        sampled(operand, U, V)


def test_vectors(gpu):
    rng = np.random.default_rng(4)
    operand = device_cases.random_operand(rng, (7, 30), 0.3, F32, gpu)
    sampled(operand, *(tensor(cases.numbers(rng, rows, F32), gpu) for rows in (7, 30)))


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0), (3, 4)], ids=str)
def test_matrices_without_entries(shape, gpu):
    A = device_cases.operand(np.zeros(shape, np.float32), gpu).matrix
    d = sc.csr_sddmm(A, torch.ones(shape[0], 9, device=gpu), torch.ones(shape[1], 9, device=gpu))
    assert d.shape == (0,)


def test_rows_that_meet_nowhere_do_not_matter(gpu):
    A = device_cases.operand(np.eye(3, dtype=np.float32), gpu).matrix
    for n in (2, 12):
        U, V = torch.ones(3, n), torch.ones(3, n)
        U[1], V[1] = torch.nan, torch.inf
        d = back(sc.csr_sddmm(A, U.to(gpu), V.to(gpu)))
        assert (d[[0, 2]] == n).all()
        assert np.isnan(d[1])


def test_the_same_call_gives_the_same_bits(gpu):
    rng = np.random.default_rng(5)
    A = device_cases.random_operand(rng, (7, 30), 0.3, F32, gpu).matrix
    U, V = (tensor(cases.numbers(rng, (rows, 100), F32), gpu) for rows in (7, 30))
    first, second = (back(sc.csr_sddmm(A, U, V)) for _ in range(2))
    assert (oracle.bits(first) == oracle.bits(second)).all()


def test_operands_that_do_not_fit(gpu):
    A = device_cases.operand(np.eye(3, 4, dtype=np.float32), gpu).matrix
    U, V = torch.ones(3, 9, device=gpu), torch.ones(4, 9, device=gpu)
    for u, v, error, message in (
        (V, V, ValueError, "U has 4 rows, A has 3 rows"),
        (U, U, ValueError, "V has 3 rows, A has 4 columns"),
        (U, V[:, 1:], ValueError, "U has 9 columns, V has 8"),
        (U, V.double(), TypeError, "U is float32, V is float64; expected equal dtypes"),
        (U[None], V, TypeError, "U has 3 dimensions, expected 1 or 2"),
        (U.int(), V.int(), TypeError, "U has dtype int32, expected float64, float32"),
        (back(U), back(V), TypeError, "A is on device .*, U is a ndarray"),
    ):
        with pytest.raises(error, match=f"^csr_sddmm: {message}"):
            sc.csr_sddmm(A, u, v)
    for threads in (0, "2"):
        with pytest.raises((TypeError, ValueError), match=r"^csr_sddmm: threads is"):
            sc.csr_sddmm(A, U, V, threads=threads)
    with pytest.raises(OverflowError, match=r"U has 131072 columns, .* takes 131071 at most"):
        sc.csr_sddmm(A, *(torch.ones(n, 1, device=gpu).char().expand(n, 2**17) for n in (3, 4)))
