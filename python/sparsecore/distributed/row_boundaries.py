"""Where the rows of a matrix are cut so that every part has about as much to do."""

from typing import Literal, TypeAlias

import numpy as np

from sparsecore.formats.arguments import IndexLike, as_indices

By: TypeAlias = Literal["nnz", "rows"]


def row_boundaries(indptr: IndexLike, parts: int, *, by: By = "nnz") -> tuple[int, ...]:
    """Cut rows into contiguous parts that are balanced by stored entries, or by rows.

    Parameters
    ----------
    indptr : (m + 1,) integers
        Row offsets of a CSR matrix: from 0, not decreasing, to nnz.
    parts : int
        At least 1.
    by : {"nnz", "rows"}
        ``"nnz"``: boundary r is the first row that begins at or behind entry ``r * nnz / parts``.
        ``"rows"``: it is row ``r * m // parts``; so it is by ``"nnz"`` in a matrix without entries.

    Returns
    -------
    tuple of int, length parts + 1
        Part r has the rows from boundary r up to boundary r + 1, which may be none. By ``"nnz"``
        it has fewer entries than ``nnz / parts`` and those of the longest row together. The
        boundaries follow from the arguments alone, in integer arithmetic.

    Raises
    ------
    TypeError
        `indptr` or `parts` is not of integers.
    ValueError
        `parts` is below 1, `by` is another word, or `indptr` does not begin with 0 or decreases.

    Examples
    --------
    Four rows of 6, 0, 1 and 1 entries: the first row is more than half of the work.

    >>> row_boundaries([0, 6, 6, 7, 8], 2)
    (0, 1, 4)
    >>> row_boundaries([0, 6, 6, 7, 8], 2, by="rows")
    (0, 2, 4)
    """
    offsets = as_indices(indptr, name="row_boundaries: indptr")
    if len(offsets) == 0 or offsets[0] != 0 or bool((np.diff(offsets) < 0).any()):
        msg = "row_boundaries: indptr must begin with 0 and never decrease"
        raise ValueError(msg)
    check_by(by, caller="row_boundaries")
    if not isinstance(parts, int) or isinstance(parts, bool):
        msg = f"row_boundaries: parts is a {type(parts).__name__}, expected an int"
        raise TypeError(msg)
    if parts < 1:
        msg = f"row_boundaries: parts is {parts}, expected at least 1"
        raise ValueError(msg)
    m, nnz = len(offsets) - 1, int(offsets[-1])
    if by == "rows" or nnz == 0:
        return tuple(r * m // parts for r in range(parts + 1))
    # The first offset of at least r * nnz / parts is that of at least its ceiling.
    entries = [-(-r * nnz // parts) for r in range(parts)]
    return (*(int(row) for row in np.searchsorted(offsets, entries, side="left")), m)


def check_by(by: object, *, caller: str) -> None:
    """Raise ValueError unless `by` is a word that `row_boundaries` knows."""
    if by not in ("nnz", "rows"):
        msg = f"{caller}: by is {by!r}, expected 'nnz' or 'rows'"
        raise ValueError(msg)
