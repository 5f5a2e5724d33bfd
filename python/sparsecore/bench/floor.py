"""What this machine does at best, today: the numbers that all others are read against."""

import numpy as np

import sparsecore as sc
from sparsecore.timing import Timer

__all__ = ["measure_floor"]

COPIED = 64 << 20  # bytes, past the second-level cache
SIDE = 1024


def measure_floor(clock: Timer) -> dict[str, float]:
    """Return four facts.

    "empty call us": what the loop itself adds to a call. "copy GB/s": bytes read and written.
    "dense GFLOP/s": numpy's float32 product of 1024 x 1024. "same twice": one csr_matmul under two
    names, median over median: what differs from 1 is noise, and so is any difference as small.
    """
    rng = np.random.default_rng(0)
    source = np.ones(COPIED // 2, np.uint8)
    target = np.empty_like(source)
    W = rng.standard_normal((SIDE, SIDE), np.float32)
    A = sc.CSR.from_dense(np.where(rng.random(W.shape) < 0.1, W, np.float32(0)))
    X = rng.standard_normal((SIDE, 32), np.float32)
    times = clock(
        {
            "empty": lambda: None,
            # Either product comes after something that empties the caches.
            "copy": lambda: np.copyto(target, source),
            "product": lambda: sc.csr_matmul(A, X),
            "dense": lambda: W @ W,
            "product again": lambda: sc.csr_matmul(A, X),
        }
    )
    return {
        "empty call us": times["empty"].median * 1e6,
        "copy GB/s": COPIED / times["copy"].median * 1e-9,
        "dense GFLOP/s": 2.0 * SIDE**3 / times["dense"].median * 1e-9,
        "same twice": times["product again"].median / times["product"].median,
    }
