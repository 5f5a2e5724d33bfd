"""sparsecore's own contenders: the matrix as it is, a plan, and a plan made in every call."""

from collections.abc import Callable
from typing import Any

import numpy as np

import sparsecore as sc
from sparsecore.bench.comparison import Contender, Offers
from sparsecore.bench.operands import SCALE, Product

__all__ = ["call", "products"]


def products(product: Product) -> Offers:
    """Return the three; the first one needs nothing beforehand."""
    A, n, sums = product.matrix.csr, product.n, product.kind.sums

    def prepared() -> sc.Plan:
        return A.prepare(n=n, backward=product.transposed)

    return {
        "sparsecore": Contender(call(product, A), sums, "ours"),
        "sparsecore plan": Contender(call(product, prepared()), sums, "ours", "beforehand"),
        "sparsecore plan, first call": Contender(
            lambda: call(product, prepared())(), sums, "ours", "included"
        ),
    }


def call(product: Product, A: Any, *, threads: int | None = None) -> Callable[[], Any]:
    """Return the product with A, which is a CSR, a plan or a 2:4 matrix."""
    X = product.X
    options: dict[str, Any] = {} if threads is None else {"threads": threads}
    if product.kind.is_scaled:
        options["scale"] = np.full(product.rows, SCALE, np.float32)
    if product.order == "f":
        return lambda: sc.linear(X, A, **options)
    if isinstance(A, sc.Sparse24):
        return lambda: sc.sparse24_matmul(A, X, **options)
    if not product.transposed:
        return lambda: sc.csr_matmul(A, X, **options)
    if isinstance(A, sc.Plan):  # which has no lazy transpose
        return lambda: (X.T @ A).T
    return lambda: sc.csr_matmul(A.T, X)
