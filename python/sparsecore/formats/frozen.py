"""Index arrays that nobody can write to."""

import numpy as np

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
