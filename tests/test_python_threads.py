"""Many Python threads on one matrix: the GIL is released, and nothing is shared that changes."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import cases
import oracle
import sparsecore as sc
from child import output
from oracle import F32


def test_forty_threads_share_one_matrix():
    """Each thread's own X, every product, right and bit-equal to the one computed alone."""
    rng = np.random.default_rng(32)
    W = cases.random_dense(rng, (257, 311), 0.3, F32)
    A, S = sc.CSR.from_dense(W), sc.Sparse24.from_dense(W, prune=True)
    P = A.prepare()
    rights = [cases.numbers(rng, (311, n), F32) for n in range(1, 41)]

    def products(X, **options):
        x = np.ascontiguousarray(X[:257])
        return [
            sc.csr_matmul(A, X, **options),
            sc.csr_matmul(P, X, **options),
            sc.csr_matmul(A.T, x, **options),
            sc.sparse24_matmul(S, X, **options),
            sc.csr_sddmm(A, x, X, **options),
        ]

    alone = [products(X, threads=1) for X in rights]
    start = threading.Barrier(40)

    def work(index):
        start.wait()
        for round_ in range(5):
            for got, want in zip(products(rights[index]), alone[index], strict=True):
                assert (oracle.bits(got) == oracle.bits(want)).all(), (index, round_)

    with ThreadPoolExecutor(40) as pool:
        list(pool.map(work, range(40)))
    want = oracle.product(W.astype(np.float64), W != 0, rights[39], F32)
    oracle.check(alone[39][0], want, "the product computed alone")


def test_update_of_a_plan_while_others_multiply():
    """Every product is of one set of values, never of a mixture."""
    A = sc.CSR.from_dense(np.ones((400, 500), np.float32))
    P = A.prepare()
    versions = [np.full(A.nnz, v, np.float32) for v in (1, 2, 3)]
    done = threading.Event()

    def multiply(n):
        X = np.ones((500, n), np.float32)
        while not done.is_set():
            Y = P @ X
            assert (Y[0, 0] == Y).all()
            assert Y[0, 0] in (500, 1000, 1500)

    with ThreadPoolExecutor(6) as pool:
        running = [pool.submit(multiply, n) for n in (1, 2, 8, 8, 33, 130)]
        for i in range(200):
            P.update(versions[i % 3])
        done.set()
        for future in running:
            future.result()
    assert (P.unpack() == versions[199 % 3]).all()


def test_values_edited_while_others_multiply_are_at_worst_stale():
    """Each entry is read as one of the numbers that it has held."""
    data = np.ones(200_000, np.float32)
    columns = np.tile(np.arange(500), 400)
    A = sc.CSR((data, columns, np.arange(0, 200_001, 500)), shape=(400, 500))
    done = threading.Event()

    def edit():
        for i in range(400):
            data[:] = 1 + i % 2
        done.set()

    with ThreadPoolExecutor(1) as pool:
        editing = pool.submit(edit)
        while not done.is_set():
            for n in (1, 5):
                Y = A @ np.ones((500, n), np.float32)
                assert ((Y >= 500) & (Y <= 1000)).all()
        editing.result()


def test_other_python_threads_run_during_a_product():
    """The product would take minutes; were the GIL held, so would this test."""
    printed = output(
        """
        import os, threading, time

        import numpy as np
        import sparsecore as sc

        A = sc.CSR.from_dense(np.ones((4000, 4000), np.float32))
        X = np.broadcast_to(np.float32(1), (4000, 100_000))
        begun = threading.Event()

        def multiply():
            begun.set()
            sc.csr_matmul(A, X)

        threading.Thread(target=multiply, daemon=True).start()
        begun.wait()
        time.sleep(0.2)
        print("free", flush=True)
        os._exit(0)
        """,
        timeout=20,
    )
    assert printed == "free"


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("work", ["A @ X", "coo.tocsr()", "A.T.tocsr()", "sc.CSR.from_dense(X)"])
def test_a_daemon_thread_at_work_does_not_spoil_the_exit(work, threads):
    """Asking for the GIL while the interpreter closes would abort the process."""
    printed = output(
        f"""
        import threading, time

        import numpy as np
        import sparsecore as sc

        sc.set_num_threads({threads})
        A = sc.CSR.from_dense(np.ones((1000, 1000), np.float32))
        X = np.ones((1000, 1500), np.float32)
        rng = np.random.default_rng(0)
        position = rng.integers(0, 10**6, (2, 2 * 10**6))
        coo = sc.COO((np.ones(2 * 10**6, np.float32), tuple(position)), (10**6, 10**6))
        begun = threading.Event()

        def work():
            while True:
                begun.set()
                {work}

        threading.Thread(target=work, daemon=True).start()
        begun.wait()
        time.sleep(0.01)
        print("the end")
        """
    )
    assert printed == "the end"
