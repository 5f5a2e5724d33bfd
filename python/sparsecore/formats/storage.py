"""What a format costs in bytes: index widths, and the arithmetic built on them."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Storage:
    """Bytes of a matrix as it is stored, beside the bytes of the same matrix stored dense.

    Attributes
    ----------
    values : int
        Bytes of the stored values.
    columns : int
        Bytes of the column indices; for 2:4, of the metadata.
    row_offsets : int
        Bytes of CSR's row offsets; for COO, of the row indices; 0 for 2:4.
    dense : int
        Bytes of all rows x columns values.

    Examples
    --------
    >>> s = Storage(values=8, columns=2, row_offsets=3, dense=16)
    >>> s.total, s.ratio
    (13, 0.8125)
    """

    values: int
    columns: int
    row_offsets: int
    dense: int

    @property
    def total(self) -> int:
        """Bytes of the whole format."""
        return self.values + self.columns + self.row_offsets

    @property
    def ratio(self) -> float:
        """`total` / `dense`: below 1 the format is the smaller one; inf where `dense` is 0."""
        return self.total / self.dense if self.dense else float("inf")


def index_dtype(count: int) -> np.dtype[Any]:
    """Return the smallest unsigned dtype that holds 0 .. count - 1.

    Columns of a matrix with n columns take ``index_dtype(n)``; row offsets, which hold nnz itself,
    take ``index_dtype(nnz + 1)``.

    Examples
    --------
    >>> index_dtype(256), index_dtype(257)
    (dtype('uint8'), dtype('uint16'))
    """
    for dtype in (np.uint8, np.uint16, np.uint32):
        if count <= np.iinfo(dtype).max + 1:
            return np.dtype(dtype)
    return np.dtype(np.uint64)


def coo_storage(shape: tuple[int, int], nnz: int, itemsize: int) -> Storage:
    """Return the bytes of a COO matrix of `nnz` entries with values of `itemsize` bytes."""
    m, n = shape
    return Storage(
        values=nnz * itemsize,
        columns=nnz * index_dtype(n).itemsize,
        row_offsets=nnz * index_dtype(m).itemsize,
        dense=m * n * itemsize,
    )


def csr_storage(shape: tuple[int, int], nnz: int, itemsize: int) -> Storage:
    """Return the bytes of a CSR matrix of `nnz` entries with values of `itemsize` bytes."""
    m, n = shape
    return Storage(
        values=nnz * itemsize,
        columns=nnz * index_dtype(n).itemsize,
        row_offsets=(m + 1) * index_dtype(nnz + 1).itemsize,
        dense=m * n * itemsize,
    )


def sparse24_storage(shape: tuple[int, int], itemsize: int) -> Storage:
    """Return the bytes of a 2:4 matrix: two values and four bits a group of four columns."""
    m, k = shape
    return Storage(
        values=m * (-(-k // 4) * 2) * itemsize,
        columns=m * -(-k // 8),
        row_offsets=0,
        dense=m * k * itemsize,
    )


def density(shape: tuple[int, int], nnz: int) -> float:
    """Return stored entries per element; 0.0 for a matrix without elements."""
    size = shape[0] * shape[1]
    return nnz / size if size else 0.0


def describe(
    name: str, shape: tuple[int, int], nnz: int, dtype: object, indices: str, nbytes: int
) -> str:
    """Return the one-line description that every format prints."""
    percent = 100 * density(shape, nnz)
    kind = str(dtype).removeprefix("torch.")
    return (
        f"<{name} {shape[0]}x{shape[1]}, nnz={nnz} (density {percent:.3g}%), {kind}, "
        f"{indices}, {nbytes} bytes>"
    )


def array_refusal(matrix: Any) -> TypeError:
    """Return the error of ``np.asarray(matrix)``."""
    nbytes = math.prod(matrix.shape) * matrix.dtype.itemsize
    name = type(matrix).__name__
    return TypeError(
        f"{name} does not become a dense array by itself; A.toarray() makes one of {nbytes} bytes"
    )
