"""The k-th largest of many floats by counting, eight bits at a time.

Floats become unsigned integers of the same order. All that have the leading digits found so far are
counted by their next digit, and 256 counts say which digit the k-th largest has. Only the counts
need to be added up where the floats lie in several places.

References
----------
Alabi, Blanchard, Gordon and Steinbach, "Fast k-selection algorithms for graphics processing units",
ACM Journal of Experimental Algorithmics 17, 2012 (radix selection, there on one device).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Keys: TypeAlias = npt.NDArray[np.unsignedinteger[Any]]
    Int64: TypeAlias = npt.NDArray[np.int64]

DIGIT_BITS = 8
DIGITS = 1 << DIGIT_BITS
# Keys counted at a time: what bincount widens stays in the cache.
_CHUNK = 1 << 18


def ordered_keys(values: npt.NDArray[np.floating[Any]]) -> Keys:
    """Return unsigned integers that compare as the floats do.

    Parameters
    ----------
    values : (n,) float32 or float64
        Without NaN; -0.0 equals 0.0.

    Returns
    -------
    (n,) uint32 or uint64

    Examples
    --------
    >>> keys = ordered_keys(np.array([-np.inf, -2.0, -0.0, 0.0, 1e-300, 3.0]))
    >>> [int(step) for step in np.sign(np.diff(keys.astype(object)))]
    [1, 1, 0, 1, 1]
    """
    kind = np.dtype(f"u{values.itemsize}").type
    sign = kind(1 << (8 * values.itemsize - 1))
    bits = values.view(kind)
    # Of negative numbers the larger magnitude is the smaller: all bits are turned around. -0.0 is
    # not among them and becomes what 0.0 does.
    keys: Keys = np.where(bits > sign, ~bits, bits | sign)
    return keys


def kth_largest(
    keys: Sequence[Keys], k: int, summed: Callable[[Int64], Int64]
) -> tuple[np.unsignedinteger[Any], int]:
    """Find the k-th largest key of all ranks.

    Parameters
    ----------
    keys : sequence of (n,) unsigned integers of one width, at least one array
        This rank's; arrays may be empty.
    k : int
        From 1 to the number of keys of all ranks.
    summed : callable
        Adds up an int64 array over the ranks; called with 256 counts for every 8 bits of a key.

    Returns
    -------
    key, int
        The k-th largest key, and how many of its equals are among the k largest.

    Examples
    --------
    On one process the sum over the ranks is what the process has:

    >>> key, equals = kth_largest([np.array([7, 9, 7], np.uint32)], 2, np.copy)
    >>> int(key), equals
    (7, 1)
    """
    kind = keys[0].dtype.type
    found, candidates = 0, list(keys)
    for shift in range(8 * keys[0].itemsize - DIGIT_BITS, -1, -DIGIT_BITS):
        counts = summed(np.sum([_digit_counts(c, shift) for c in candidates], axis=0))
        # How many have a digit of at least this one, from the largest digit on.
        at_least = np.cumsum(counts[::-1])
        place = int(np.searchsorted(at_least, k))
        k -= int(at_least[place - 1]) if place else 0
        found = found << DIGIT_BITS | (DIGITS - 1 - place)
        candidates = [c[c >> kind(shift) == kind(found)] for c in candidates]
    return kind(found), k


def _digit_counts(keys: Keys, shift: int) -> Int64:
    counts = np.zeros(DIGITS, np.int64)
    for start in range(0, keys.size, _CHUNK):
        chunk = keys[start : start + _CHUNK] >> keys.dtype.type(shift)
        counts += np.bincount(chunk.astype(np.uint8), minlength=DIGITS)
    return counts
