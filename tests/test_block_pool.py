"""Large results: in memory that earlier ones gave back, never in one that somebody holds."""

import threading

import numpy as np
import pytest

import sparsecore as sc
from child import output

LARGE = 400  # a square fp32 result of 640 kB


def product(scale: float, rows: int = LARGE) -> np.ndarray:
    A = sc.CSR.from_dense(np.diag(np.full(rows, scale, np.float32)))
    return sc.csr_matmul(A, np.ones((rows, LARGE), np.float32))


def address(y: np.ndarray) -> int:
    return y.__array_interface__["data"][0]


def test_results_that_are_held_are_left_alone() -> None:
    results = [product(float(i)) for i in range(20)]
    assert len({address(y) for y in results}) == 20
    for i, y in enumerate(results):
        assert (y == i).all()


def test_memory_is_used_again() -> None:
    first = product(1.0)
    place, view = address(first), first[1:]
    del first
    other = product(2.0)
    assert address(other) != place  # a view holds it
    assert (view == 1).all()
    del view
    assert address(product(3.0)) == place
    assert address(product(3.0, rows=LARGE - 40)) == place  # a little smaller


def test_column_major_results_and_tensors() -> None:
    torch = pytest.importorskip("torch")
    A = sc.CSR.from_dense(torch.eye(LARGE))
    x = torch.rand(LARGE, LARGE)
    for given in (x, x.T):
        y = sc.csr_matmul(A, given)
        assert y.stride() == given.stride()
        assert torch.equal(y, given)
    y.resize_(2, 2)  # what torch may do to memory of its own, it may do to this
    assert torch.equal(sc.csr_matmul(A, x), x)


def test_threads_get_memory_of_their_own() -> None:
    wrong: list[int] = []

    def work(number: int) -> None:
        results = (product(float(number)) for _ in range(50))
        wrong.extend(number for y in results if not (y == number).all())

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_forked_child_has_its_own() -> None:
    code = """
import os, numpy as np, sparsecore as sc
A = sc.CSR.from_dense(np.eye(400, dtype=np.float32)); X = np.ones((400, 400), np.float32)
kept = A @ X
del kept
child = os.fork()
ok = all((A @ X == 1).all() for _ in range(3))
if child == 0: os._exit(0 if ok else 1)
print(ok, os.waitpid(child, 0)[1])
"""
    assert output(code).split() == ["True", "0"]
