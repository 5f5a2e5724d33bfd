"""Whether results on the device are right, checked there against float64."""

from collections.abc import Callable
from typing import Any

import torch

from sparsecore.bench.comparison import ROUNDOFF, Contender

__all__ = ["equals", "product_excess"]


def product_excess(W: Any, X: Any) -> Callable[[Contender, Any], float]:
    """Return the check of ``W @ X`` against float64: the bound of the host's benchmarks.

    A sum of t products may be off by (t + 1) u times the sum of their magnitudes, where u is the
    roundoff of the dtype it is kept in (Higham, Accuracy and Stability of Numerical Algorithms,
    section 3.1); storing the result rounds once more. A dense product that skips no zeros has k
    terms.
    """
    left, right = W.double(), X.double()
    expected, magnitude = left @ right, left.abs() @ right.abs()
    terms = torch.count_nonzero(W, dim=1).reshape(-1, *[1] * (X.ndim - 1))

    def excess(contender: Contender, result: Any) -> float:
        if result.shape != expected.shape:
            return float("inf")
        stored = ROUNDOFF[str(result.dtype).removeprefix("torch.")]
        count = W.shape[1] if contender.role == "baseline" else terms
        bound = (
            (count + 1) * (ROUNDOFF[contender.sums] + ROUNDOFF["float64"]) + stored
        ) * magnitude
        error = (result.double() - expected).abs()
        off = torch.where(error == 0, torch.zeros_like(error), error / bound)
        return float(off.max()) if off.numel() else 0.0

    return excess


def equals(expected: Any) -> Callable[[Contender, Any], float]:
    """Return the check that a contender's dense form of its result is `expected`, to the bit."""

    def excess(_: Contender, result: Any) -> float:
        found = result.toarray() if hasattr(result, "toarray") else result.to_dense()
        return 0.0 if torch.equal(found, expected) else float("inf")

    return excess
