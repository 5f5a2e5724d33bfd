"""Stored indices that nobody can write to: arrays on the host, tensors that are not handed out."""

from typing import Any

import numpy as np

from sparsecore import interop
from sparsecore.interop import Array


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


def joined_indices(a: Any, b: Any) -> Any:
    """Return two vectors of stored indices of one width as one, immutable on the host."""
    if not interop.is_tensor(a):
        return frozen(np.concatenate([a, b]))
    bits = interop.import_torch().uint8  # torch.cat does not take every unsigned width
    return interop.import_torch().cat([a.view(bits), b.view(bits)]).view(a.dtype)


def taken_indices(index: Any, positions: Any) -> Any:
    """Return some of a vector of stored indices, immutable on the host."""
    if not interop.is_tensor(index):
        return frozen(index[positions])
    wide = index.to(interop.import_torch().int64)  # index_select does not take every unsigned width
    return wide.index_select(0, positions).to(index.dtype)
