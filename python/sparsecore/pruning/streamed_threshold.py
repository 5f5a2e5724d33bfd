"""One threshold over the scores of all layers, which are never in memory together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsecore.pruning._arrays import checked_scores
from sparsecore.pruning.radix_selection import ordered_keys

if TYPE_CHECKING:
    import numpy.typing as npt

    from sparsecore.pruning.radix_selection import Int64, Keys

__all__ = ["global_counts"]

# 65536 counts a pass, so that float32 takes two passes and float64 four.
_DIGIT_BITS = 16
_CHUNK = 1 << 18


def global_counts(
    sizes: Mapping[str, int],
    scores: Callable[[str], npt.NDArray[Any]],
    kept: int,
    *,
    double: bool = False,
) -> dict[str, int]:
    """Return how many of the `kept` best scores lie in each layer, as ``allocation.global_`` does.

    A layer's scores are asked for again in each pass: two, or four of float64, find the threshold,
    one more counts. Between the passes there are 65536 counts.

    Parameters
    ----------
    sizes : mapping of str to int
        Number of scores of each layer.
    scores : callable
        ``scores(name)`` are those of a layer, the same in every pass; higher means keep.
    kept : int
        How many to keep of all layers together.
    double : bool
        Compare in float64. Without it in float32, which holds every float16, bfloat16 and float32.

    Returns
    -------
    dict of str to int
        Ties keep the earlier layer.

    Raises
    ------
    ValueError
        `kept` is not from 0 to the number of scores, or a score is NaN.

    Examples
    --------
    >>> scores = {"a": np.array([0.1, 0.9]), "b": np.array([0.7, 0.8])}
    >>> global_counts({"a": 2, "b": 2}, scores.__getitem__, 2)
    {'a': 1, 'b': 1}
    """
    size = sum(sizes.values())
    if not 0 <= kept <= size:
        msg = f"global_counts: kept is {kept}, expected 0 to {size}, the scores of all layers"
        raise ValueError(msg)
    if kept in (0, size):
        return {name: count if kept else 0 for name, count in sizes.items()}
    dtype = np.dtype(np.float64 if double else np.float32)

    def layers() -> Iterator[tuple[str, Keys]]:
        for name in sizes:
            found = checked_scores(scores(name), name=f"global_counts: the scores of {name!r}")
            yield name, ordered_keys(found.reshape(-1).astype(dtype, copy=False))

    threshold, equals = _kth_largest(layers, kept, 8 * dtype.itemsize)
    counts: dict[str, int] = {}
    for name, keys in layers():
        taken = min(int((keys == threshold).sum()), equals)
        equals -= taken
        counts[name] = int((keys > threshold).sum()) + taken
    return counts


def _kth_largest(
    layers: Callable[[], Iterator[tuple[str, Keys]]], k: int, bits: int
) -> tuple[int, int]:
    """Return the k-th largest key, and how many of its equals are among the k largest.

    As `radix_selection.kth_largest`, which holds the keys, by wider digits.
    """
    found = 0
    for shift in range(bits - _DIGIT_BITS, -1, -_DIGIT_BITS):
        counts = np.zeros(1 << _DIGIT_BITS, np.int64)
        for _, keys in layers():
            counts += _digit_counts(keys, shift, found)
        at_least = np.cumsum(counts[::-1])
        place = int(np.searchsorted(at_least, k))
        k -= int(at_least[place - 1]) if place else 0
        found = found << _DIGIT_BITS | (counts.size - 1 - place)
    return found, k


def _digit_counts(keys: Keys, shift: int, found: int) -> Int64:
    """Count the digits at `shift` of the keys whose higher digits are `found`."""
    counts = np.zeros(1 << _DIGIT_BITS, np.int64)
    for start in range(0, keys.size, _CHUNK):
        chunk = keys[start : start + _CHUNK] >> keys.dtype.type(shift)
        higher = chunk >> keys.dtype.type(_DIGIT_BITS)
        digits = chunk[higher == keys.dtype.type(found)].astype(np.uint16)
        counts += np.bincount(digits, minlength=counts.size)
    return counts
