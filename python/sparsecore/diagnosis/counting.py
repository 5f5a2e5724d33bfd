"""How many entries of a weight are zero, and where: counted piece by piece."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from sparsecore.interop import VALUE_DTYPES, Array

__all__ = ["FLATTENED", "Counts", "axis_name", "count"]

FLATTENED = "flattened"
"""Groups of four along what follows the first axis, as im2col lays a convolution's weight."""

_HALVES = (VALUE_DTYPES["float16"], VALUE_DTYPES["bfloat16"])
# Elements that are looked at together: what is made of them is small next to a large weight.
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Counts:
    """Nonzeros of a weight, and how much of it is 2:4.

    Attributes
    ----------
    size, nonzeros : int
        -0.0 counts as zero, NaN as nonzero.
    share_24 : mapping of str to float
        The fraction of groups of four neighbours with at most two nonzeros, 1.0 without any group:
        along "axis 0" and "axis 1", the axis that is summed over where it is another, and of a
        weight of three axes or more also "flattened", along all but the first together. The last
        group of a line may have fewer than four.
    """

    size: int
    nonzeros: int
    share_24: Mapping[str, float]

    @property
    def sparsity(self) -> float:
        """The fraction that is zero."""
        return 1 - self.nonzeros / self.size if self.size else 0.0


def axis_name(axis: int) -> str:
    """Return what `Counts.share_24` calls an axis."""
    return f"axis {axis}"


def count(weight: Array, summed_axis: int | None = None) -> Counts:
    """Count the nonzeros of a weight, and its groups of four.

    Parameters
    ----------
    weight : array of any dtype
        Read in pieces of about a million elements.
    summed_axis : int, optional
        Its axis that is summed over, where that is known: groups along it are counted, too.

    Examples
    --------
    >>> count(np.array([[1, 0, 0, 2], [3, 4, 5, 0]])).share_24["axis 1"]
    0.5
    """
    axes = range(weight.ndim)
    lines = {axis_name(axis): axis for axis in axes if axis < 2 or axis == summed_axis}
    if weight.ndim > 2:
        lines[FLATTENED] = 1
    if not weight.size:  # whose other lengths may be anything, since it takes no bytes
        return Counts(0, 0, MappingProxyType(dict.fromkeys(lines, 1.0)))
    nonzeros, groups, fitting = 0, dict.fromkeys(lines, 0), dict.fromkeys(lines, 0)
    for kept in _pieces(weight):
        nonzeros += int(np.count_nonzero(kept))
        for line, axis in lines.items():
            flat = kept.reshape(len(kept), -1) if line == FLATTENED else kept
            for few in _at_most_two(flat, axis):
                groups[line] += few.size
                fitting[line] += int(np.count_nonzero(few))
    share = {line: fitting[line] / groups[line] if groups[line] else 1.0 for line in lines}
    return Counts(weight.size, nonzeros, MappingProxyType(share))


def _pieces(weight: Array) -> Iterator[npt.NDArray[np.bool_]]:
    """Yield where a weight is not zero, a few of its rows at a time, in fours."""
    if weight.ndim == 0:
        yield np.atleast_1d(weight != 0)
        return
    rows = max(4, _PIECE // (weight.size // len(weight)) // 4 * 4)
    for start in range(0, len(weight), rows):
        yield _is_not_zero(weight[start : start + rows])


def _is_not_zero(piece: Array) -> npt.NDArray[np.bool_]:
    # Comparisons of halves are slow: instead all bits but the sign are looked at.
    bits = np.left_shift(piece.view(np.uint16), 1) if piece.dtype in _HALVES else piece
    kept: npt.NDArray[np.bool_] = bits != 0
    return kept


def _at_most_two(kept: npt.NDArray[np.bool_], axis: int) -> Iterator[npt.NDArray[np.bool_]]:
    """Yield whether fours along an axis have at most two nonzeros: whole ones, then the last."""
    ones = np.moveaxis(kept, axis, 0).view(np.uint8)
    whole = len(ones) // 4 * 4
    first, second, third, fourth = (ones[place:whole:4] for place in range(4))
    yield first + second + third + fourth <= 2
    if whole < len(ones):
        yield ones[whole:].sum(axis=0, dtype=np.uint8) <= 2
