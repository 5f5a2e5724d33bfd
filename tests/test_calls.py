"""The way into the core: csrc/bindings/fast_call.h, products.cpp, and what brief products skip."""

import threading

import numpy as np
import pytest

import sparsecore as sc
from sparsecore import _core, threads

A = sc.CSR.from_dense(np.array([[1.0, 0, 2], [0, 3, 0]], np.float32))
X = np.arange(6, dtype=np.float32).reshape(3, 2)
EXPECTED = np.array([[8.0, 11], [6, 9]], np.float32)


def test_arguments_left_out_are_none() -> None:
    assert (_core.plan_matmul(A.prepare()._plan, X, None, None, "f") == EXPECTED).all()
    full = (False, False, None, None, None, None)
    assert (_core.csr_matmul(A._structure, A.data, X, None, 1, "f", *full) == EXPECTED).all()


def test_rows_of_a_layer_are_columns_of_the_product() -> None:
    bias, residual = np.ones(2, np.float32), np.ones((2, 2), np.float32)
    rows = (False, True, None, bias, residual, "relu")
    y = _core.csr_matmul(A._structure, A.data, X.T.copy(), None, 1, "f", *rows)
    assert y.flags.c_contiguous
    assert (y == EXPECTED.T + 2).all()
    out = np.empty_like(y)
    assert _core.csr_matmul(A._structure, A.data, X.T.copy(), out, 1, "f", False, True) is out
    assert (out == EXPECTED.T).all()
    vector = _core.csr_matmul(A._structure, A.data, X[:, 0].copy(), None, 1, "f", False, True)
    assert (vector == EXPECTED[:, 0]).all()


@pytest.mark.parametrize("given", [(), (None,), (A, X), (A._structure, X, None, 1, "f")])
def test_what_is_no_plan_is_refused(given: tuple[object, ...]) -> None:
    with pytest.raises((TypeError, RuntimeError)):
        _core.plan_matmul(*given)


def test_errors_are_those_of_the_core() -> None:
    plan = A.prepare()._plan
    with pytest.raises(ValueError, match=r"f: X has 2 rows, A has 3 columns"):
        _core.plan_matmul(plan, X.T.copy(), None, 1, "f")
    with pytest.raises(TypeError, match=r"f: X is a str, expected a numpy array"):
        _core.plan_matmul(plan, "X", None, 1, "f")
    with pytest.raises(ValueError, match=r"f: activation is 'tanh', expected None, 'relu'"):
        _core.plan_matmul(plan, X, None, 1, "f", False, False, None, None, None, "tanh")
    with pytest.raises(TypeError):
        _core.plan_matmul(plan, X, None, "one", 5)


def test_only_long_products_ask_for_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    long = sc.CSR.from_dense(np.ones((300, 300), np.float32))
    asked: list[bool] = []
    monkeypatch.setattr(threads, "_setting", 0)
    monkeypatch.setattr(threads, "_count", lambda: asked.append(True) or 1)
    assert (A @ X == EXPECTED).all()
    assert asked == []
    assert (long @ np.ones((300, 2), np.float32) == 300).all()
    assert asked == [True]


def test_threads_of_a_brief_product_are_checked() -> None:
    for matrix in (A, A.prepare()):
        with pytest.raises(ValueError, match=r"csr_matmul: threads is 0, expected 1 to 4096"):
            sc.csr_matmul(matrix, X, threads=0)
        with pytest.raises(TypeError, match=r"csr_matmul: threads is a str, expected an integer"):
            sc.csr_matmul(matrix, X, threads="2")  # type: ignore[arg-type]


def test_brief_products_of_many_threads_do_not_meet() -> None:
    P = A.prepare()
    wrong: list[int] = []

    def work() -> None:
        wrong.extend(call for call in range(2000) if not (P @ X == EXPECTED).all())

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []
