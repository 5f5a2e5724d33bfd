"""Row and column indices of single entries: their range, their width, their canonical order."""

import numpy as np

from sparsecore.formats.storage import index_dtype
from sparsecore.interop import Array, Int64


def narrow(index: Int64, size: int, *, name: str) -> Array:
    """Return `index` as an immutable copy in the smallest width for ``0 .. size - 1``.

    Raises
    ------
    IndexError
        Where an index is outside; names the first such position.
    """
    outside = (index < 0) | (index >= size)
    if outside.any():
        position = int(np.argmax(outside))
        msg = f"{name} index {index[position]} at position {position} is outside [0, {size})"
        raise IndexError(msg)
    return frozen(index.astype(index_dtype(size)))


def frozen(index: Array) -> Array:
    """Return a copy of `index` that nobody can make writable again, as the core reads it unlocked.

    (An array that owns its memory gets its ``flags.writeable`` back by asking; one on bytes never.)

    Examples
    --------
    >>> import numpy as np
    >>> index = frozen(np.array([3, 1], dtype=np.uint8))
    >>> index.flags.writeable = True
    Traceback (most recent call last):
    ValueError: cannot set WRITEABLE flag to True of this array
    """
    return np.frombuffer(index.tobytes(), index.dtype)


def canonical_order(row: Array, col: Array) -> tuple[Int64, Int64]:
    """Return the order that sorts entries by row, then column, and where each coordinate begins.

    Entries of one coordinate keep their order.

    Examples
    --------
    >>> import numpy as np
    >>> order, starts = canonical_order(np.array([1, 0, 1]), np.array([2, 3, 2]))
    >>> order.tolist(), starts.tolist()
    ([1, 0, 2], [0, 1])
    """
    order = np.lexsort((col, row)).astype(np.int64, copy=False)
    row, col = row[order], col[order]
    changes = (row[1:] != row[:-1]) | (col[1:] != col[:-1])
    first = np.zeros(min(1, row.size), dtype=np.int64)
    return order, np.concatenate([first, np.flatnonzero(changes) + 1])
