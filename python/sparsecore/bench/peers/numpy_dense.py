"""numpy's dense products, the baseline that is always there. It has fast ones in fp32 and fp64."""

from sparsecore.bench.comparison import Contender, Offers
from sparsecore.bench.operands import Product

__all__ = ["products"]


def products(product: Product) -> Offers:
    """Return the dense product."""
    wide = product.kind.wide
    dense = product.widened(product.matrix.dense)
    left, X = dense.T if product.transposed else dense, product.X.astype(wide)
    call = (lambda: X @ left.T) if product.order == "f" else (lambda: left @ X)
    return {product.kind.named("numpy dense", wide): Contender(call, wide, "baseline")}
