"""scipy's CSR products: one thread, fp32, fp64 and int32 among others."""

from typing import Any

from sparsecore.bench.comparison import Absent, Contender, Offers
from sparsecore.bench.operands import Product
from sparsecore.bench.peers import Peer

__all__ = ["find"]


def find() -> Peer:
    """Return scipy.

    Raises
    ------
    Absent
        Where it is not installed.
    """
    try:
        import scipy.sparse  # noqa: F401
    except ImportError:
        reason = "scipy is not installed"
        raise Absent(reason) from None
    return Peer(products, "")


def products(product: Product) -> Offers:
    """Return the product with CSR; for a transposed one also with its CSR made beforehand."""
    import scipy.sparse

    kind, A = product.kind, product.matrix
    data = product.widened(A.data, kind.sums)
    S: Any = scipy.sparse.csr_array((data, A.indices, A.indptr), A.shape)
    right = product.right.astype(kind.sums)
    name = kind.named("scipy", kind.sums)
    if product.order == "f":
        return {name: Contender(lambda: (S @ right).T, kind.sums)}
    if not product.transposed:
        return {name: Contender(lambda: S @ right, kind.sums)}
    turned = S.T.tocsr()
    return {
        name: Contender(lambda: S.T @ right, kind.sums),
        f"{name} transposed beforehand": Contender(
            lambda: turned @ right, kind.sums, packing="beforehand"
        ),
    }
