"""A matrix as a file holds it: its format, its shape and its arrays by name."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from sparsecore import interop
from sparsecore.formats import COO, CSR, Sparse24, arguments, placement
from sparsecore.interop import Array, Values

Matrix: TypeAlias = COO | CSR | Sparse24

# The arrays of each format, the values first.
ARRAY_NAMES: dict[str, tuple[str, ...]] = {
    "coo": ("data", "row", "col"),
    "csr": ("data", "indices", "indptr"),
    "sparse24": ("values", "metadata"),
}


def _entry(name: str, position: int) -> str:
    return f"entry {position} of {name!r}"


@dataclass(frozen=True, slots=True)
class Parts:
    """What a file says that a matrix is; not validated.

    Attributes
    ----------
    format : str
        A key of `ARRAY_NAMES`.
    shape : (int, int)
    arrays : dict
        The arrays that the format has, by name.
    place : callable
        Says where in the file an element of an array stands: ``place(name, position)``.
    """

    format: str
    shape: tuple[int, int]
    arrays: dict[str, Array]
    place: Callable[[str, int], str] = field(default=_entry)


def take_apart(matrix: object) -> Parts:
    """Return the arrays of a matrix as numpy sees them, indices in their stored widths.

    Raises
    ------
    ValueError
        Where a tensor of values no longer has the shape that the matrix was made with.
    """
    arrays: tuple[Values, ...]
    expected: tuple[int, ...]
    if isinstance(matrix, COO):
        arrays, expected = (matrix._data, matrix._row, matrix._col), (matrix.nnz,)
    elif isinstance(matrix, CSR):
        arrays = (matrix._data, matrix._structure.indices, matrix._structure.indptr)
        expected = (matrix.nnz,)
    elif isinstance(matrix, Sparse24):
        arrays = (matrix._values, matrix._structure.metadata)
        expected = (matrix.shape[0], -(-matrix.shape[1] // 4) * 2)
    else:
        msg = f"save: A is a {type(matrix).__name__}, expected COO, CSR or Sparse24"
        raise TypeError(msg)
    names = ARRAY_NAMES[matrix.format]
    arguments.check_shape(arrays[0], expected, name=f"save: {names[0]}")
    named = zip(names, arrays, strict=True)
    contiguous = {name: np.ascontiguousarray(_on_host(array, name)) for name, array in named}
    return Parts(matrix.format, matrix.shape, contiguous)


def _on_host(array: Values, name: str) -> Array:
    if not interop.on_device(array):
        return interop.to_numpy(array, name=name)
    is_values = name in ("data", "values")
    return interop.to_host(array) if is_values else placement.stored_on_host(array)


def put_together(parts: Parts, *, framework: str, sum_duplicates: bool) -> Matrix:
    """Validate the parts and make the matrix.

    Raises
    ------
    ValueError, IndexError, TypeError, OverflowError
        Where they do not fit together: as the constructors do.
    """
    _check_range(parts)
    values, *indices = (parts.arrays[name] for name in ARRAY_NAMES[parts.format])
    values = interop.as_tensor(values) if framework == "torch" else values
    if parts.format == "sparse24":
        return Sparse24((values, indices[0]), parts.shape)
    first, second = indices
    if parts.format == "coo":
        return COO((values, (first, second)), parts.shape)
    return CSR(
        (values, first, second), parts.shape, duplicates="sum" if sum_duplicates else "error"
    )


def _check_range(parts: Parts) -> None:
    """Raise IndexError where an index is outside the shape, saying where in the file it stands."""
    m, n = parts.shape
    limits: dict[str, int] = {"coo": {"row": m, "col": n}, "csr": {"indices": n}}.get(
        parts.format, {}
    )
    for name, limit in limits.items():
        index = parts.arrays[name]
        outside = (index < 0) | (index >= limit)
        if outside.any():
            position = int(np.argmax(outside))
            where = parts.place(name, position)
            msg = f"index {index.flat[position]} at {where} is outside [0, {limit})"
            raise IndexError(msg)
