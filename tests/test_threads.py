"""How many threads a product takes: results do not depend on it, bit for bit."""

import numpy as np
import pytest

import cases
import oracle
import sparsecore as sc
from cases import Mix
from child import output
from oracle import F16, F32, F64, I8

LEFT = {
    "csr": cases.csr,
    "transposed": cases.transposed,
    "plan": cases.plan,
    "packed": cases.prepared("packed_sweep"),
    "permuted": cases.prepared("block_permute"),
    "24": cases.sparse24,
}
COUNTS = (1, 2, 7)
MIXES = [*(Mix(d, d) for d in (F64, F32, F16, I8)), Mix(I8, F32, scaled=True)]


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("mix", MIXES, ids=str)
@pytest.mark.parametrize("left", LEFT)
def test_products_are_bit_equal(left, mix):
    """Enough work (10 us a thread) that all 7 get some."""
    rng = np.random.default_rng(27)
    m, k = 700, 900
    operand = LEFT[left](cases.random_dense(rng, (m, k), 0.6, mix.values))
    scale = cases.factors(rng, m, F32) if mix.scaled else None
    for n, layouts in ((1, "C"), (2, "C"), (7, "CF"), (17, "C"), (33, "CF"), (65, "C"), (130, "F")):
        X = cases.numbers(rng, (k, n), mix.x)
        for layout in layouts:
            x = cases.laid_out(X, layout)
            results = [
                oracle.bits(cases.multiply(operand.matrix, x, scale=scale, threads=count))
                for count in COUNTS
            ]
            same = [bool((result == results[0]).all()) for result in results]
            assert all(same), f"n={n}, {layout}: {dict(zip(COUNTS, same, strict=True))}"


@pytest.mark.usefixtures("target")
def test_long_and_uneven_rows_are_bit_equal():
    """Rows of 0 to 3000 entries, so that threads begin anywhere."""
    rng = np.random.default_rng(28)
    W = np.zeros((400, 3000), np.float32)
    for row, length in enumerate(rng.integers(0, 55, 400) ** 2):
        W[row, rng.choice(3000, length, replace=False)] = cases.numbers(rng, length, F32)
    for matrix in (sc.CSR.from_dense(W), sc.CSR.from_dense(W.T).T):
        for n in (1, 3, 20):
            X = cases.numbers(rng, (3000, n), F32)
            results = [oracle.bits(sc.csr_matmul(matrix, X, threads=count)) for count in COUNTS]
            assert all((result == results[0]).all() for result in results), f"n={n}"


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("dtype", [F64, F32, F16, I8], ids=str)
def test_sampled_products_are_bit_equal(dtype):
    rng = np.random.default_rng(29)
    A = sc.CSR.from_dense(cases.random_dense(rng, (300, 400), 0.5, F32))
    for n in (5, 64, 300):
        for layout in ("C", "F"):
            U = cases.laid_out(cases.numbers(rng, (300, n), dtype), layout)
            V = cases.laid_out(cases.numbers(rng, (400, n), dtype), layout)
            results = [oracle.bits(sc.csr_sddmm(A, U, V, threads=count)) for count in COUNTS]
            assert all((result == results[0]).all() for result in results), f"n={n}, {layout}"


@pytest.mark.usefixtures("target")
def test_linear_and_prune_24_are_bit_equal():
    rng = np.random.default_rng(30)
    W, x = cases.random_dense(rng, (700, 900), 0.5, F32), cases.numbers(rng, (9, 900), F32)
    bias, residual = cases.numbers(rng, 700, F32), cases.numbers(rng, (9, 700), F32)
    A = sc.CSR.from_dense(W)
    results = [
        oracle.bits(sc.linear(x, A, bias, residual=residual, activation="gelu", threads=count))
        for count in COUNTS
    ]
    assert all((result == results[0]).all() for result in results)
    masks = [sc.prune_24(W, threads=count) for count in COUNTS]
    assert all((mask == masks[0]).all() for mask in masks)


def test_the_same_call_gives_the_same_bits():
    rng = np.random.default_rng(31)
    A = sc.CSR.from_dense(cases.random_dense(rng, (300, 500), 0.3, F32))
    X = cases.numbers(rng, (500, 40), F32)
    first, first_t = A @ X, A.T @ X[:300]
    for _ in range(20):
        assert (oracle.bits(A @ X) == oracle.bits(first)).all()
        assert (oracle.bits(A.T @ X[:300]) == oracle.bits(first_t)).all()


def test_more_threads_than_rows_columns_or_cores():
    A = sc.CSR.from_dense(np.ones((1, 300_000), np.float32))
    for count in (1, 3, 64):
        assert (sc.csr_matmul(A, np.ones((300_000, 2), np.float32), threads=count) == 300_000).all()
        assert (sc.csr_matmul(A.T, np.ones((1, 1), np.float32), threads=count) == 1).all()


def test_threads_that_the_system_refuses_do_not_end_the_process():
    """OpenMP's runtime exits where a thread cannot start; the result or an error must come."""
    printed = output(
        """
        import resource

        import numpy as np
        import sparsecore as sc

        A = sc.CSR.from_dense(np.ones((1000, 1000), np.float32))
        X = np.ones((1000, 256), np.float32)
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), used + (1 << 30)))
        try:
            assert (sc.csr_matmul(A, X, threads=4096) == 1000).all()
        except (MemoryError, RuntimeError):
            pass
        print("alive")
        """
    )
    assert printed == "alive"


# ---- the setting ----


def test_setting_is_for_all_threads_of_the_process():
    """Without a setting: torch's number where torch is loaded, else the cores."""
    printed = output(
        """
        import os, threading
        import sparsecore as sc

        assert sc.get_num_threads() == len(os.sched_getaffinity(0))
        sc.set_num_threads(3)
        seen = []
        thread = threading.Thread(target=lambda: seen.append(sc.get_num_threads()))
        thread.start(); thread.join()
        print(seen, sc.get_num_threads())
        """
    )
    assert printed == "[3] 3"


def test_default_follows_torch_where_it_is_loaded():
    pytest.importorskip("torch")
    printed = output(
        """
        import sparsecore as sc
        import torch

        torch.set_num_threads(5)
        print(sc.get_num_threads())
        sc.set_num_threads(2)
        print(sc.get_num_threads(), torch.get_num_threads())
        """
    )
    assert printed.split() == ["5", "2", "5"]


@pytest.mark.parametrize("left", ["packed", "24"])
def test_a_large_right_side_is_shared_by_the_threads(left):
    """A tile of X above 1 MB is copied once, by all threads."""
    rng = np.random.default_rng(31)
    operand = LEFT[left](cases.random_dense(rng, (150, 6000), 0.4, F32))
    X = cases.numbers(rng, (6000, 70), F32)
    one, three = (cases.multiply(operand.matrix, X, threads=count) for count in (1, 3))
    assert (oracle.bits(one) == oracle.bits(three)).all()
    oracle.check(three, oracle.product(operand.W, operand.stored, X, F32), left)
