"""The costs of sparsity as numbers: bytes, break-even densities, operations, waste.

Examples
--------
A 2x2 matrix with two non-zeros on its diagonal. Dense it takes 4x32 bits; sparse, 2x32 + a, where a
is what the positions cost:

>>> import numpy as np
>>> import sparsecore as sc
>>> W = np.diag(np.array([2.0, 5.0], dtype=np.float32))
>>> s = sc.analysis.storage((2, 2), 2, np.float32, "csr")
>>> 8 * s.dense == 4 * 32, 8 * s.values == 2 * 32
(True, True)
>>> a = 8 * (s.columns + s.row_offsets)
>>> 8 * s.total == 2 * 32 + a, a
(True, 40)

Times a 2x2 matrix it takes 4 multiplications and no addition, instead of 8 and 4:

>>> cost = sc.analysis.operations(W != 0, 2)
>>> cost.dense
OperationCount(multiplications=8, additions=4)
>>> cost.sparse
OperationCount(multiplications=4, additions=0)

A matrix in CSR, row by row:

>>> A = sc.CSR.from_dense(np.array([[0, 3, 0, 7], [0, 0, 8, 0], [2, 5, 0, 0], [0, 0, 0, 9.0]]))
>>> print("Val", *A.data.astype(int), " Col", *A.indices, " Row", *A.indptr)
Val 3 7 8 2 5 9  Col 1 3 2 0 1 3  Row 0 2 3 5 6

A sparse row times a dense column reads only the part of the column that it needs, whatever stands
in the rest, and multiplies four times:

>>> row = np.array([[3.0, 0, 4, 0, 2, 0, 1]])
>>> [
...     float(sc.csr_matmul(sc.CSR.from_dense(row), np.array([2.0, 1, 5, x, 4, 1, 3]))[0])
...     for x in (0.0, 6.0, -1e300)
... ]
[37.0, 37.0, 37.0]
>>> sc.analysis.operations(row != 0, 1).sparse
OperationCount(multiplications=4, additions=3)

Two rows that are computed together share the union of their columns; here that is three columns, so
each row multiplies once for nothing:

>>> sc.analysis.grouping_waste(np.array([[1, 1, 0, 0], [0, 1, 1, 0]], dtype=bool), 2)
2
"""

import operator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from sparsecore import interop
from sparsecore.formats import arguments
from sparsecore.formats.storage import Storage, coo_storage, csr_storage, sparse24_storage
from sparsecore.interop import DTypeLike

__all__ = [
    "OperationCount",
    "Operations",
    "breakeven_density",
    "grouping_waste",
    "operations",
    "storage",
]

Format: TypeAlias = Literal["coo", "csr", "sparse24"]


@dataclass(frozen=True, slots=True)
class OperationCount:
    """Multiplications and additions of one product."""

    multiplications: int
    additions: int


@dataclass(frozen=True, slots=True)
class Operations:
    """What a product costs with every element, and with the kept ones only."""

    dense: OperationCount
    sparse: OperationCount


def storage(shape: tuple[int, int], nnz: int, value_dtype: DTypeLike, fmt: Format) -> Storage:
    """Count the bytes that a matrix would take, without making it.

    Parameters
    ----------
    shape : (m, n)
    nnz : int
        Number of stored entries. A 2:4 matrix stores two values a group, however many are zero.
    value_dtype : numpy or torch dtype
        float64, float32, float16, bfloat16 or int8.
    fmt : {"coo", "csr", "sparse24"}

    Returns
    -------
    Storage
        The same numbers as ``A.storage()``; ``total`` equals ``A.nbytes``.

    Raises
    ------
    ValueError
        For an unknown format, a negative `nnz`, or more entries than the format can hold.

    Notes
    -----
    CSR of m x n with K entries of v bytes: K v + K w(n) + (m + 1) w'(K), where w is 1, 2, 4 or 8 by
    the largest column index, n - 1, and w' by the largest offset, K itself.

    Examples
    --------
    Half of an int8 matrix is larger in CSR than all of it dense, because a column takes more bytes
    than a value:

    >>> round(storage((1024, 1024), 1024 * 512, "int8", "csr").ratio, 3)
    1.504

    A 16-bit 2:4 matrix takes 9/16 of dense:

    >>> storage((1024, 1024), 1024 * 512, "float16", "sparse24").ratio
    0.5625
    """
    sizes, nnz = arguments.as_shape(shape, name="storage"), _integer(nnz, name="storage: nnz")
    itemsize = arguments.value_dtype(value_dtype, name="storage: value_dtype").itemsize
    limit = _capacity(sizes, fmt)
    if nnz < 0 or (nnz > limit and fmt != "coo"):
        msg = f"storage: nnz is {nnz}, expected 0 to {limit} for shape {sizes} in {fmt!r}"
        raise ValueError(msg)
    return _storage(sizes, nnz, itemsize, fmt)


def breakeven_density(shape: tuple[int, int], value_dtype: DTypeLike, fmt: Format) -> float:
    """Return the largest density at which a format takes no more bytes than the dense matrix.

    Parameters
    ----------
    shape : (m, n)
    value_dtype : numpy or torch dtype
    fmt : {"coo", "csr", "sparse24"}

    Returns
    -------
    float
        0.0 where the format never pays. For "sparse24", whose size does not depend on the number of
        zeros, the density of a full 2:4 matrix or 0.0.

    Notes
    -----
    This is about memory; about time only a measurement can speak.

    Examples
    --------
    With two-byte columns a four-byte value pays below two thirds, a one-byte value below one third:

    >>> round(breakeven_density((1024, 1024), "float32", "csr"), 3)
    0.666
    >>> round(breakeven_density((1024, 1024), "int8", "csr"), 3)
    0.332
    """
    sizes = arguments.as_shape(shape, name="breakeven_density")
    itemsize = arguments.value_dtype(value_dtype, name="breakeven_density: value_dtype").itemsize
    low, high = -1, _capacity(sizes, fmt)
    while low < high:
        middle = (low + high + 1) // 2
        candidate = _storage(sizes, middle, itemsize, fmt)
        low, high = (middle, high) if candidate.total <= candidate.dense else (low, middle - 1)
    size = sizes[0] * sizes[1]
    return max(low, 0) / size if size else 0.0


def grouping_waste(mask: Any, rows: int) -> int:
    """Count the multiplications that grouping rows wastes, for each column of the right side.

    Rows that are computed together share the union of their columns: each of them multiplies for
    every column in it, also where it holds a zero itself.

    Parameters
    ----------
    mask : (m, n) array or tensor
        True, or non-zero, at kept positions.
    rows : int
        Rows a group, taken in order; the last group may have fewer.

    Returns
    -------
    int
        Multiplications with a zero.

    Raises
    ------
    TypeError
        Where `rows` is no integer.
    ValueError
        Where `rows` is less than 1.

    Examples
    --------
    >>> import numpy as np
    >>> mask = np.eye(4, dtype=bool)
    >>> [grouping_waste(mask, rows) for rows in (1, 2, 4)]
    [0, 4, 12]
    """
    rows = _integer(rows, name="grouping_waste: rows")
    if rows < 1:
        msg = f"grouping_waste: rows is {rows}, expected at least 1"
        raise ValueError(msg)
    kept = _kept(mask, name="grouping_waste")
    m, n = kept.shape
    groups = -(-m // rows)
    padded = np.zeros((groups * rows, n), dtype=np.bool_)
    padded[:m] = kept
    union = padded.reshape(groups, rows, n).any(axis=1).sum(axis=1)
    sizes = np.minimum(rows, m - rows * np.arange(groups))
    return int(union @ sizes) - int(kept.sum())


def operations(mask: Any, n: int) -> Operations:
    """Count multiplications and additions of a matrix times a dense (k, n) matrix.

    Parameters
    ----------
    mask : (m, k) array or tensor
        True, or non-zero, at kept positions.
    n : int
        Columns of the right side.

    Returns
    -------
    Operations
        A sum of t products takes t multiplications and t - 1 additions (none for t = 0).

    Raises
    ------
    TypeError
        Where `n` is no integer.
    ValueError
        Where `n` is negative.
    """
    n = _integer(n, name="operations: n")
    if n < 0:
        msg = f"operations: n is {n}, expected at least 0"
        raise ValueError(msg)
    kept = _kept(mask, name="operations")
    m, k = kept.shape
    per_row = kept.sum(axis=1)
    return Operations(
        dense=OperationCount(m * k * n, m * max(k - 1, 0) * n),
        sparse=OperationCount(int(per_row.sum()) * n, int(np.maximum(per_row - 1, 0).sum()) * n),
    )


def _integer(number: Any, *, name: str) -> int:
    try:
        return operator.index(number)
    except TypeError:
        msg = f"{name} is {number!r}, expected an integer"
        raise TypeError(msg) from None


def _capacity(shape: tuple[int, int], fmt: Format) -> int:
    """Return how many entries a canonical matrix of a format can have."""
    m, n = shape
    if fmt in ("coo", "csr"):
        return m * n
    if fmt == "sparse24":
        return m * (n // 4 * 2 + min(n % 4, 2))
    msg = f"fmt is {fmt!r}, expected 'coo', 'csr' or 'sparse24'"
    raise ValueError(msg)


def _storage(shape: tuple[int, int], nnz: int, itemsize: int, fmt: Format) -> Storage:
    if fmt == "coo":
        return coo_storage(shape, nnz, itemsize)
    if fmt == "csr":
        return csr_storage(shape, nnz, itemsize)
    return sparse24_storage(shape, itemsize)


def _kept(mask: Any, *, name: str) -> npt.NDArray[np.bool_]:
    tensor = interop.is_tensor(mask)
    array = interop.to_numpy(mask, name=f"{name}: mask") if tensor else np.asarray(mask)
    if array.ndim != 2:
        msg = f"{name}: mask has {array.ndim} axes, expected 2"
        raise TypeError(msg)
    kept: npt.NDArray[np.bool_] = array != 0
    return kept
