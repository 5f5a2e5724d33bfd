"""What is multiplied: random matrices, patterns of pruned networks, dtypes of both sides."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import ml_dtypes
import numpy as np

import sparsecore as sc
from sparsecore.bench import dlmc
from sparsecore.bench.arguments import Options

__all__ = ["SCALE", "Kind", "Matrix", "Product", "kind_of", "matrices", "matrices_24", "product"]

# The factor of each row of a product with int8 values: a power of two, which rounds nothing.
SCALE = 2.0**-7


@dataclass(frozen=True, slots=True)
class Kind:
    """The dtypes of a product.

    `values` and `right` are A's and X's, `sums` is what sums are kept in, `wide` the dtype for
    peers that know fp32 and fp64 only: their operands are widened beforehand.
    """

    values: str
    right: str
    sums: str
    wide: str

    @property
    def is_scaled(self) -> bool:
        """Whether rows of the result have a factor: int8 values with a floating X."""
        return self.values == "int8" and self.right != "int8"

    def named(self, peer: str, dtype: str) -> str:
        """Return the name of a peer that computes in `dtype`: it says so where that is another."""
        return peer if self.values == self.right == dtype else f"{peer} {dtype}"


def kind_of(dtype: str) -> Kind:
    """Return the kind that ``--dtype`` names: the one of values and X, or both, with a colon."""
    values, _, right = dtype.partition(":")
    right = right or values
    wide = "float64" if values == "float64" else "float32"
    return Kind(values, right, "int32" if right == "int8" else wide, wide)


@dataclass(frozen=True, slots=True)
class Matrix:
    """A sparse matrix, dense and as the arrays of CSR, and the labels of its rows in the table."""

    dense: Any
    indptr: Any
    indices: Any
    data: Any
    labels: Mapping[str, str | float]

    @property
    def shape(self) -> tuple[int, int]:
        """(m, k)."""
        m, k = self.dense.shape
        return int(m), int(k)

    def labelled(self, **labels: str) -> "Matrix":
        """Return the matrix with more labels, which come first."""
        return replace(self, labels={**labels, **self.labels})

    @property
    def csr(self) -> sc.CSR:
        """The matrix as sparsecore's own."""
        return sc.CSR((self.data, self.indices, self.indptr), self.shape)


@dataclass(frozen=True, slots=True)
class Product:
    """``A @ X``, or ``A.T @ X`` where `transposed`.

    X is (k,) or (k, n), with rows one after another. In order "f" it is (n, k) instead, and the
    product ``X @ A.T`` as a linear layer computes it: both sides have their columns one after
    another.
    """

    matrix: Matrix
    X: Any
    kind: Kind
    order: Literal["c", "f"]
    transposed: bool = False

    @property
    def n(self) -> int:
        """The number of right-hand columns."""
        return 1 if self.X.ndim == 1 else int(self.right.shape[1])

    @property
    def rows(self) -> int:
        """Rows of the result, by columns of it."""
        return self.matrix.shape[self.transposed]

    @property
    def right(self) -> Any:
        """X as (k,) or (k, n), whatever the order."""
        return self.X.T if self.order == "f" else self.X

    @property
    def left(self) -> Any:
        """The dense left side that is meant, factors of its rows included."""
        dense = self.widened(self.matrix.dense) if self.kind.is_scaled else self.matrix.dense
        return dense.T if self.transposed else dense

    def widened(self, values: Any, dtype: str = "") -> Any:
        """Return A's values, factors included, in a wider dtype (by default the kind's)."""
        wide = values.astype(dtype or self.kind.wide)
        return wide * wide.dtype.type(SCALE) if self.kind.is_scaled else wide

    def result_shape(self) -> tuple[int, ...]:
        """Return the shape of the result in its order."""
        if self.X.ndim == 1:
            return (self.rows,)
        return (self.n, self.rows) if self.order == "f" else (self.rows, self.n)


def matrices(options: Options, values: str) -> Iterator[Matrix]:
    """Yield the matrices that the options name, their values of one dtype."""
    if options.dlmc is not None:
        for pattern in dlmc.patterns(options.dlmc):
            if options.sparsities and pattern.sparsity not in options.sparsities:
                continue
            rng = np.random.default_rng([options.seed, 0])
            yield _filled(pattern, _random(pattern.indices.shape, values, rng))
        return
    for shape in options.shapes:
        for sparsity in options.sparsities:
            W = _random(shape, values, np.random.default_rng([options.seed, 0]))
            kept = round((1 - sparsity / 100) * W.size)
            place = np.random.default_rng([options.seed, 1]).permutation(W.size)
            W.reshape(-1)[place[kept:]] = 0
            yield matrix(W, {"sparsity": sparsity})


def matrices_24(options: Options, values: str) -> Iterator[Matrix]:
    """Yield random matrices that hold two of every four, of each shape of the options."""
    for shape in options.shapes:
        W = _random(shape, values, np.random.default_rng([options.seed, 0]))
        W[~sc.prune_24(W)] = 0
        yield matrix(W, {"sparsity": 100 * float(np.mean(W == 0))})


def matrix(W: Any, labels: Mapping[str, str | float]) -> Matrix:
    """Return a dense matrix as one to compare on."""
    stored = W != 0
    indptr = np.concatenate([[0], np.cumsum(np.count_nonzero(stored, axis=1))])
    indices = np.nonzero(stored)[1]
    return _labelled(W, indptr, indices, W[stored], labels)


def product(
    A: Matrix, n: int, options: Options, kind: Kind, *, transposed: bool = False
) -> Product:
    """Return A's product with n random columns; one is a vector, which all do fastest."""
    k = A.shape[not transposed]
    order: Literal["c", "f"] = "f" if options.order == "f" else "c"
    shape = (n, k) if order == "f" else (k,) if n == 1 else (k, n)
    X = _random(shape, kind.right, np.random.default_rng([options.seed, 2]))
    return Product(A, X, kind, order, transposed)


def _filled(pattern: dlmc.Pattern, data: Any) -> Matrix:
    dense = np.zeros(pattern.shape, data.dtype)
    rows = np.repeat(np.arange(pattern.shape[0]), np.diff(pattern.indptr))
    dense[rows, pattern.indices] = data
    labels: dict[str, str | float] = {"pattern": pattern.name, "sparsity": pattern.sparsity}
    return _labelled(dense, pattern.indptr, pattern.indices, data, labels)


def _labelled(
    dense: Any, indptr: Any, indices: Any, data: Any, labels: Mapping[str, str | float]
) -> Matrix:
    sizes = {"M": dense.shape[0], "K": dense.shape[1], "nnz": len(data)}
    narrow = indptr.astype(np.int32), indices.astype(np.int32)
    return Matrix(dense, *narrow, data, {**sizes, **labels})


def _random(shape: tuple[int, ...], dtype: str, rng: np.random.Generator) -> Any:
    """Values without zeros, which would change the number of nonzeros."""
    if dtype == "int8":
        return rng.choice([-1, 1], shape).astype(np.int8) * rng.integers(1, 128, shape, np.int8)
    values = rng.uniform(0.25, 1, shape) * rng.choice([-1, 1], shape)
    return values.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
