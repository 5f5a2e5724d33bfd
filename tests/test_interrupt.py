"""Ctrl-C in a long product gives KeyboardInterrupt.

Each child runs one product that would take minutes. It has to stop about a second after the
signal; the tests wait for ten, so that a busy machine does not fail them.
"""

import itertools
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

PATIENCE = 10

# Right sides without a stride stand for large ones and take no memory.
SETUP = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits it ignored
import numpy as np
import sparsecore as sc
from numpy.lib.stride_tricks import as_strided

def repeated(shape, dtype=np.float32):
    return np.broadcast_to(dtype(1), shape)

def wide(rows, columns, dtype=np.float32):
    return as_strided(np.ones(columns, dtype), (rows, columns), (0, np.dtype(dtype).itemsize))
"""

PRODUCTS = {
    "csr, many rows a tile": """
        A = sc.CSR.from_dense(np.ones((200, 20000), np.float32))
        X = wide(20000, 200_000)
        run = lambda threads: sc.csr_matmul(A, X, threads=threads)
    """,
    "csr, a short moment a tile": """
        A = sc.CSR.from_dense(np.ones((1, 4000), np.float32))
        X = repeated((4000, 20_000_000))
        run = lambda threads: sc.csr_matmul(A, X, threads=threads)
    """,
    "transposed, one tile": """
        A = sc.CSR.from_dense(np.ones((4000, 6000), np.float32))
        X = wide(4000, 20_000)
        run = lambda threads: sc.csr_matmul(A.T, X, threads=threads)
    """,
    "transposed, a short moment a tile": """
        A = sc.CSR.from_dense(np.ones((4000, 1), np.float32))
        X = repeated((4000, 20_000_000))
        run = lambda threads: sc.csr_matmul(A.T, X, threads=threads)
    """,
    "2:4": """
        S = sc.Sparse24.from_dense(np.ones((200, 20000), np.float32), prune=True)
        X = wide(20000, 300_000)
        run = lambda threads: sc.sparse24_matmul(S, X, threads=threads)
    """,
    "sddmm": """
        A = sc.CSR.from_dense(np.ones((3000, 3000), np.float32))
        U = wide(3000, 200_000)
        run = lambda threads: sc.csr_sddmm(A, U, U, threads=threads)
    """,
    "sddmm, a short moment a panel": """
        A = sc.CSR.from_dense(np.ones((30, 30), np.float32))
        U = repeated((30, 400_000_000), np.float16)
        run = lambda threads: sc.csr_sddmm(A, U, U, threads=threads)
    """,
    "linear": """
        A = sc.CSR.from_dense(np.ones((2000, 2000), np.float32))
        x = repeated((50_000, 2000))
        run = lambda threads: sc.linear(x, A, np.ones(2000, np.float32), threads=threads)
    """,
}

INTERRUPTED = """
print("ready", flush=True)
try:
    run(THREADS)
    print("finished", flush=True)
except KeyboardInterrupt:
    ones = np.ones((2, 2))
    works = (sc.CSR.from_dense(ones) @ ones == 2).all()
    print("interrupted, and products still work" if works else "broken", flush=True)
"""


def outcome(code: str) -> str:
    """Start a child, interrupt it in its product, and return what it says within the patience."""
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout.readline() == "ready\n", child.stderr.read()
        time.sleep(0.3)
        child.send_signal(signal.SIGINT)
        printed, errors = child.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return f"still running {PATIENCE} seconds after the signal"
    finally:
        child.kill()
        child.communicate()
    return printed.strip() or errors


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
@pytest.mark.parametrize(
    ("product", "threads"), list(zip(PRODUCTS, itertools.cycle((2, 1)), strict=False))
)
def test_keyboard_interrupt(product, threads):
    ending = INTERRUPTED.replace("THREADS", str(threads))
    code = SETUP + textwrap.dedent(PRODUCTS[product]) + ending
    assert outcome(code) == "interrupted, and products still work"


def test_any_exception_of_a_signal_handler_comes_out():
    code = (
        SETUP
        + textwrap.dedent(PRODUCTS["csr, many rows a tile"])
        + textwrap.dedent(
            """
            class Expired(Exception):
                pass

            def expire(*_):
                raise Expired

            signal.signal(signal.SIGINT, expire)
            print("ready", flush=True)
            try:
                run(2)
            except Expired:
                print("expired", flush=True)
            """
        )
    )
    assert outcome(code) == "expired"


def test_a_handler_that_returns_lets_the_product_finish():
    code = SETUP + textwrap.dedent(
        """
        A = sc.CSR.from_dense(np.ones((1000, 4000), np.float32))
        X = wide(4000, 2000)
        seen = []
        signal.signal(signal.SIGINT, lambda *_: seen.append(1))
        print("ready", flush=True)
        rounds = 0
        while not seen:
            Y = sc.csr_matmul(A, X)
            rounds += 1
        print((Y == 4000).all(), flush=True)
        """
    )
    assert outcome(code) == "True"
