"""Patterns whose entries are kept and pruned in groups: blocks, filters and channels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sparsecore.pruning._arrays import as_float64, contiguous, like_origin, move_axis
from sparsecore.pruning._numbers import integer
from sparsecore.pruning.block_selection import Tiling
from sparsecore.pruning.pattern import Pattern, axis_of

__all__ = ["Block", "Channel", "Filter"]


@dataclass(frozen=True, slots=True)
class Block(Pattern):
    """Blocks of `r` rows and `c` columns of the weight as a matrix, (out, everything else).

    A block is worth the sum of its scores. At the right and lower edge of a matrix that is no
    multiple of the block, blocks are smaller; of the ways to make up a count of kept entries, the
    one with the largest sum is taken. One-dimensional scores are one row.

    Parameters
    ----------
    r, c : int
        At least 1.

    Raises
    ------
    ValueError
        `r` or `c` below 1.
    TypeError
        One of them is not an integer.

    References
    ----------
    Gray et al., "GPU Kernels for Block-Sparse Weights", 2017; Narang et al., "Block-Sparse
    Recurrent Neural Networks", arXiv:1711.02782 (which ranks blocks by their maximum).

    Examples
    --------
    >>> import numpy as np
    >>> from sparsecore.pruning import prune_mask
    >>> pattern = Block(1, 2)
    >>> prune_mask(np.array([[5.0, 0.0, 2.0, 2.0], [1.0, 3.5, 0.0, 1.0]]), 4, pattern)
    array([[ True,  True, False, False],
           [ True,  True, False, False]])
    >>> pattern.nearest_counts((2, 4), 5), pattern.round_count((2, 4), 5)
    ((4, 6), 6)
    """

    r: int
    c: int

    def __post_init__(self) -> None:
        """Reject blocks without entries."""
        if integer(self.r, name="Block: r") < 1 or integer(self.c, name="Block: c") < 1:
            msg = f"Block({self.r}, {self.c}): expected at least one row and one column"
            raise ValueError(msg)

    def nearest_counts(
        self, shape: tuple[int, ...], kept: int, within: Any = None
    ) -> tuple[int, int]:
        """Return the nearest counts that whole blocks make up."""
        return self._tiling(shape).nearest_counts(kept, _matrix(within))

    def obstacle(self, shape: tuple[int, ...]) -> str | None:
        """Say that a weight is smaller than one block."""
        rows, cols = _matrix_shape(shape)
        return None if rows >= self.r and cols >= self.c else "smaller than one block"

    def spread(self, scores: Any) -> Any:
        """Return for each entry the mean of its block, float64."""
        return _by_matrix(scores, self._tiling(tuple(scores.shape)).means)

    def select(self, scores: Any, kept: int) -> Any:
        """Return the mask of the blocks with the largest sum, ties to the first in the matrix."""
        tiling = self._tiling(tuple(scores.shape))
        return _by_matrix(scores, lambda matrix: tiling.select(matrix, kept))

    def _tiling(self, shape: tuple[int, ...]) -> Tiling:
        return Tiling(*_matrix_shape(shape), self.r, self.c)


@dataclass(frozen=True, slots=True)
class Filter(Pattern):
    """Whole slices of axis 0: filters of a convolution, rows (output units) of a linear layer.

    A filter is worth the sum of its scores, so magnitudes give its L1 norm.

    References
    ----------
    Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017, section 3.1.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsecore.pruning import prune_mask
    >>> prune_mask(np.array([[5.0, 0.0], [3.0, 3.0]]), 2, Filter())
    array([[False, False],
           [ True,  True]])
    """

    def nearest_counts(
        self, shape: tuple[int, ...], kept: int, within: Any = None
    ) -> tuple[int, int]:
        """Return the nearest multiples of a filter's entries."""
        return _filters(self, shape).nearest_counts(kept, _matrix(within))

    def spread(self, scores: Any) -> Any:
        """Return for each entry the mean of its filter, float64."""
        return _by_matrix(scores, _filters(self, tuple(scores.shape)).means)

    def select(self, scores: Any, kept: int) -> Any:
        """Return the mask of the filters with the largest sum, ties to the first."""
        tiling = _filters(self, tuple(scores.shape))
        return _by_matrix(scores, lambda matrix: tiling.select(matrix, kept))


@dataclass(frozen=True, slots=True)
class Channel(Pattern):
    """Whole slices of axis 1: what reads one input channel, or one input unit of a linear layer.

    A channel is worth the sum of its scores.

    References
    ----------
    He et al., "Channel Pruning for Accelerating Very Deep Neural Networks", ICCV 2017 (whose
    choice is by reconstruction).

    Examples
    --------
    >>> import numpy as np
    >>> from sparsecore.pruning import prune_mask
    >>> prune_mask(np.array([[5.0, 0.0], [3.0, 9.0]]), 2, Channel())
    array([[False,  True],
           [False,  True]])
    """

    def nearest_counts(
        self, shape: tuple[int, ...], kept: int, within: Any = None
    ) -> tuple[int, int]:
        """Return the nearest multiples of a channel's entries."""
        tiling = _filters(self, _swapped(self, shape))
        moved = None if within is None else move_axis(within, 1, 0)
        return tiling.nearest_counts(kept, _matrix(moved))

    def obstacle(self, shape: tuple[int, ...]) -> str | None:
        """Say that a weight has no axis 1."""
        return None if len(shape) > 1 else "without an axis 1"

    def spread(self, scores: Any) -> Any:
        """Return for each entry the mean of its channel, float64."""
        tiling = _filters(self, _swapped(self, tuple(scores.shape)))
        return contiguous(move_axis(_by_matrix(move_axis(scores, 1, 0), tiling.means), 0, 1))

    def select(self, scores: Any, kept: int) -> Any:
        """Return the mask of the channels with the largest sum, ties to the first."""
        tiling = _filters(self, _swapped(self, tuple(scores.shape)))
        mask = _by_matrix(move_axis(scores, 1, 0), lambda matrix: tiling.select(matrix, kept))
        return contiguous(move_axis(mask, 0, 1))


def _filters(pattern: Pattern, shape: tuple[int, ...]) -> Tiling:
    axis_of(pattern, 0, shape)
    cols = math.prod(shape[1:])
    return Tiling(shape[0], cols, 1, max(cols, 1))


def _swapped(pattern: Pattern, shape: tuple[int, ...]) -> tuple[int, ...]:
    axis_of(pattern, 1, shape)
    return (shape[1], shape[0], *shape[2:])


def _matrix_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    if len(shape) < 2:
        return 1, math.prod(shape)
    return shape[0], math.prod(shape[1:])


def _matrix(array: Any) -> npt.NDArray[np.float64] | None:
    """Return an array as a float64 matrix, first axis by the rest."""
    return None if array is None else as_float64(array).reshape(_matrix_shape(tuple(array.shape)))


def _by_matrix(array: Any, function: Callable[[Any], Any]) -> Any:
    """Apply a function of a float64 matrix (first axis, the rest) to an array of any shape.

    In numpy for tensors, too: one order of the sums, so one mask on every device.
    """
    shape = tuple(array.shape)
    result = function(_matrix(array))
    return like_origin(np.ascontiguousarray(result).reshape(shape), array)
