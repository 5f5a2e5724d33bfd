"""The ways to say which matrix a product is of, and what a product is told besides."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sparsecore.library import structures
from sparsecore.library.handle import living


class Kind(NamedTuple):
    """A way to say which matrix is meant.

    Attributes
    ----------
    name : prefix of its operators
    schema : their arguments for it
    find : from these to the structure, or plan
    value_shape : from these to the shape of the values
    """

    name: str
    schema: str
    find: Callable[..., Any]
    value_shape: Callable[..., list[int]]

    @property
    def width(self) -> int:
        """How many arguments it takes, the last one being sizes: rows, columns, ..."""
        return self.schema.count(",") + 1


CSR = Kind(
    "csr",
    "Tensor indices, Tensor indptr, SymInt[] shape",
    structures.csr,
    lambda indices, _indptr, _shape: list(indices.shape),
)
SPARSE24 = Kind(
    "sparse24",
    "Tensor metadata, SymInt[] shape",
    structures.sparse24,
    lambda _metadata, shape: [shape[0], (shape[1] + 3) // 4 * 2],
)
# A CSR, Sparse24 or Plan object, by its handle. A plan, which has its own values, takes none.
HELD = Kind(
    "held",
    "Tensor token, SymInt[] sizes",
    lambda token, _sizes: living(int(token)),
    lambda _token, sizes: list(sizes[2:]),
)


class Product(NamedTuple):
    """The arguments of a product that follow the matrix."""

    transposed: bool = False
    by_rows: bool = False
    scale: Tensor | None = None
    bias: Tensor | None = None
    residual: Tensor | None = None
    activation: str | None = None
    threads: int | None = None


PRODUCT_SCHEMA = (
    "bool transposed=False, bool by_rows=False, Tensor? scale=None, Tensor? bias=None, "
    "Tensor? residual=None, str? activation=None, int? threads=None"
)


def matmul_of(kind: Kind) -> Any:
    """Return the product's operator."""
    return getattr(torch.ops.sparsecore, f"{kind.name}_matmul")


def sddmm_of(kind: Kind) -> Any:
    """Return the sampled product's operator."""
    return getattr(torch.ops.sparsecore, f"{kind.name}_sddmm")


def name_of(kind: Kind, *, by_rows: bool) -> str:
    """Return what messages call a product."""
    if by_rows:
        return "linear"
    return "sparse24_matmul" if kind is SPARSE24 else "csr_matmul"
