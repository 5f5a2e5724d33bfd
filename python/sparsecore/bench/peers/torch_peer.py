"""torch's CSR products, which are MKL's, and its dense ones."""

import re
import warnings
from typing import Any

from sparsecore.bench.comparison import Absent, Contender, Offers
from sparsecore.bench.operands import Matrix, Product
from sparsecore.bench.peers import Peer

__all__ = ["csr_tensor", "find"]


def find() -> Peer:
    """Return torch.

    Raises
    ------
    Absent
        Where it is not installed.
    """
    try:
        import torch
    except ImportError:
        reason = "torch is not installed"
        raise Absent(reason) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        torch.eye(1).to_sparse_csr()  # says, once a process, that CSR tensors are in beta
    mkl = re.search(r"Math Kernel Library Version (\S+?)-", torch.__config__.show())
    return Peer(products, f"torch with MKL {mkl[1]}" if mkl else "torch without MKL")


def products(product: Product) -> Offers:
    """Return the sparse product, which two dtypes have, and the dense one."""
    kind = product.kind
    if kind.values != kind.right or kind.values not in ("float32", "float64"):
        return {"torch csr": Absent(f"no {kind.values} by {kind.right} product"), **_dense(product)}
    import torch

    T, right = csr_tensor(product.matrix), torch.from_numpy(product.right)
    left = T.t() if product.transposed else T
    call = (lambda: (left @ right).t()) if product.order == "f" else (lambda: left @ right)
    return {"torch csr": Contender(call, kind.sums), **_dense(product)}


def csr_tensor(A: Matrix) -> Any:
    """Return a torch.sparse_csr tensor with 32-bit indices, the ones MKL takes as they are."""
    import torch

    starts, columns, data = (torch.from_numpy(part) for part in (A.indptr, A.indices, A.data))
    return torch.sparse_csr_tensor(starts, columns, data, size=A.shape, check_invariants=False)


def _dense(product: Product) -> Offers:
    """Return the dense product in X's dtype; it keeps 16-bit sums as it likes."""
    import torch

    kind = product.kind
    if kind.right == "int8":
        return _dense_int8(product)
    dtype = getattr(torch, kind.right)
    # Rounded the same way; numpy's bfloat16 cannot be handed over as it is.
    dense = product.widened(product.matrix.dense)
    W = torch.from_numpy(dense).to(dtype)
    X = torch.from_numpy(product.X.astype(kind.wide)).to(dtype)
    left = W.t() if product.transposed else W
    linear = torch.nn.functional.linear
    call = (lambda: linear(X, left)) if product.order == "f" else (lambda: left @ X)
    name = "torch F.linear" if product.order == "f" else "torch dense"
    return {
        name if kind.values == kind.right else f"{name} {kind.right}": Contender(
            call, kind.right, "baseline"
        )
    }


def _dense_int8(product: Product) -> Offers:
    """Return the product with int32 sums, which takes two axes only."""
    import torch

    W, X = torch.from_numpy(product.matrix.dense), torch.from_numpy(product.X)
    shape = product.result_shape()
    left, right = (X, W.t()) if product.order == "f" else (W, X.reshape(len(X), -1))

    def call() -> Any:
        return torch._int_mm(left, right).reshape(shape)

    return {"torch dense": Contender(call, "int32", "baseline")}
