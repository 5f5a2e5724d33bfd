"""A layer's time as a function of how many weights it keeps, from measured counts."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats: TypeAlias = npt.NDArray[np.float64]
    Ints: TypeAlias = npt.NDArray[np.int64]

__all__ = ["Times", "check_layers", "curve_of", "predicted_seconds"]

Times: TypeAlias = Mapping[str, Sequence[tuple[int, float]]]


def predicted_seconds(times: Times, kept: Mapping[str, int]) -> float:
    """Return the seconds that layers take together with these kept counts, as ``latency`` counts.

    Parameters
    ----------
    times : mapping of str to sequence of (int, float)
        As for ``latency``.
    kept : mapping of str to int
        The count of each of these layers. Below the least measured one, its time is returned.

    Raises
    ------
    ValueError
        As ``latency`` for `times`; layers differ, or a count is not within 0 and the layer's size.
    TypeError
        A count is no integer, or an entry of `times` no pair.

    Examples
    --------
    >>> predicted_seconds({"a": [(10, 1.0), (20, 2.0), (100, 8.0)]}, {"a": 15})
    1.5
    """
    check_layers(kept, times, caller="predicted_seconds", argument="kept")
    found = []
    for name, count in kept.items():
        counts, seconds = curve_of(name, times[name], caller="predicted_seconds")
        size = int(counts[-1])
        if not 0 <= operator.index(count) <= size:
            msg = f"predicted_seconds: kept[{name!r}] is {count}, expected 0 to its size, {size}"
            raise ValueError(msg)
        # A line is least at one of its ends: of what keeps more, the measured counts suffice.
        later = seconds[counts >= count].min()
        found.append(min(float(np.interp(count, counts, seconds)), float(later)))
    return math.fsum(found)


def check_layers(
    others: Mapping[str, object], times: Times, *, caller: str = "latency", argument: str = "scores"
) -> None:
    """Raise ValueError where the layers of two mappings differ."""
    untimed = ", ".join(repr(name) for name in others if name not in times)
    unknown = ", ".join(repr(name) for name in times if name not in others)
    if untimed:
        msg = f"{caller}: times has no layer {untimed}, which {argument} has"
        raise ValueError(msg)
    if unknown:
        msg = f"{caller}: {argument} has no layer {unknown}, which times has: leave it out of both"
        raise ValueError(msg)


def curve_of(
    name: str, measured: Iterable[tuple[int, float]], *, caller: str = "latency"
) -> tuple[Ints, Floats]:
    """Return a layer's measured counts, rising, and their seconds."""
    where = f"{caller}: times[{name!r}]"
    try:
        pairs = [(operator.index(count), float(seconds)) for count, seconds in measured]
    except (TypeError, ValueError) as error:
        msg = f"{where} is {measured!r}, expected pairs of a kept count, an integer, and seconds"
        raise TypeError(msg) from error
    counts, seconds = [count for count, _ in pairs], [second for _, second in pairs]
    if not pairs or counts[0] < 0 or any(b <= a for a, b in itertools.pairwise(counts)):
        msg = f"{where} has the kept counts {counts}, expected rising ones, 0 or more, at least one"
        raise ValueError(msg)
    wrong = [second for second in seconds if not (math.isfinite(second) and second >= 0)]
    if wrong:
        msg = f"{where} has the time {wrong[0]} s, expected finite seconds, 0 or more"
        raise ValueError(msg)
    return np.array(counts, np.int64), np.array(seconds)
