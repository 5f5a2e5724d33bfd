"""Patterns: which positions may be pruned together, and the mask that keeps the best of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from sparsecore.pruning._arrays import checked_scores, contiguous, full_mask, move_axis, top_of_rows
from sparsecore.pruning._numbers import integer
from sparsecore.pruning._short_repr import short_repr
from sparsecore.pruning.block_patterns import Block, Channel, Filter
from sparsecore.pruning.pattern import Pattern, axis_of

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

__all__ = ["NM", "Block", "Channel", "Filter", "Pattern", "Unstructured", "prune_mask"]

ArrayT = TypeVar("ArrayT", "npt.NDArray[Any]", "torch.Tensor")


@dataclass(frozen=True, slots=True, repr=False)
class Unstructured(Pattern):
    """Every position is kept or pruned by itself.

    Parameters
    ----------
    axis : int, optional
        Positions compete within each slice of this axis only, and every slice keeps the same
        share: with ``axis=0`` each row (output), the comparison group of Wanda. Counts differ by
        one at most, the first slices having more. Without it all positions of a layer compete.

    Raises
    ------
    TypeError
        `axis` is neither an integer nor None.

    References
    ----------
    Sun et al., "A Simple and Effective Pruning Approach for Large Language Models", ICLR 2024,
    section 3 (the comparison group).

    Examples
    --------
    >>> import numpy as np
    >>> prune_mask(np.array([3.0, 1.0, 1.0, 2.0]), 3, Unstructured())
    array([ True,  True, False,  True])
    >>> prune_mask(np.array([[9.0, 8.0], [2.0, 1.0]]), 2, Unstructured(axis=0))
    array([[ True, False],
           [ True, False]])
    """

    axis: int | None = None

    def __post_init__(self) -> None:
        """Reject an axis that is no number."""
        if self.axis is not None:
            integer(self.axis, name="Unstructured: axis", what="an integer or None")

    __repr__ = short_repr

    def obstacle(self, shape: tuple[int, ...]) -> str | None:
        """Say that a weight has no such axis."""
        if self.axis is None or -len(shape) <= self.axis < len(shape):
            return None
        return f"without an axis {self.axis}"

    def select(self, scores: Any, kept: int) -> Any:
        """Return the mask of the `kept` largest scores, ties to the lowest flat index."""
        if self.axis is None:
            return top_of_rows(scores.reshape(1, -1), kept).reshape(scores.shape)
        axis = axis_of(self, self.axis, tuple(scores.shape))
        moved = move_axis(scores, axis, 0)
        rows = moved.reshape(moved.shape[0], math.prod(moved.shape[1:]))
        mask = _same_share(rows, kept).reshape(moved.shape)
        return contiguous(move_axis(mask, 0, axis))


@dataclass(frozen=True, slots=True, repr=False)
class NM(Pattern):
    """`n` kept of each `m` consecutive entries along an axis.

    A tail group of t < m entries keeps min(t, n). ``NM(2, 4)`` on absolute values is the mask of
    ``sparsecore.prune_24``.

    Parameters
    ----------
    n, m : int
        1 <= n < m.
    axis : int
        The last one by default. What reads convolution weights (out, in, kh, kw) along the input
        channels, as TensorRT does, takes ``axis=1``.

    Raises
    ------
    ValueError
        Unless 1 <= n < m.
    TypeError
        One of the three is not an integer.

    References
    ----------
    Mishra et al., "Accelerating Sparse Deep Neural Networks", arXiv:2104.08378, section 3.1.

    Examples
    --------
    >>> import numpy as np
    >>> pattern = NM(2, 4)
    >>> pattern.fixed_count((1, 6)), pattern.sparsity
    (4, 0.5)
    >>> prune_mask(np.array([[1.0, 4.0, 3.0, 2.0, 5.0, 6.0]]), 4, pattern)
    array([[False,  True,  True, False,  True,  True]])
    """

    n: int
    m: int
    axis: int = -1

    def __post_init__(self) -> None:
        """Reject groups that keep nothing or everything."""
        n, m, _ = (integer(getattr(self, name), name=f"NM: {name}") for name in ("n", "m", "axis"))
        if not 1 <= n < m:
            msg = f"NM({self.n}, {self.m}): keeps n of each m, expected 1 <= n < m"
            raise ValueError(msg)

    __repr__ = short_repr

    @property
    def sparsity(self) -> float:
        """The sparsity of whole groups, 1 - n / m."""
        return 1 - self.n / self.m

    def fixed_count(self, shape: tuple[int, ...]) -> int:
        """Return how many entries the pattern keeps in an array of `shape`."""
        along = shape[axis_of(self, self.axis, shape)]
        groups, tail = divmod(along, self.m)
        others = math.prod(shape) // along if along else 0
        return others * (groups * self.n + min(tail, self.n))

    def obstacle(self, shape: tuple[int, ...]) -> str | None:
        """Say that a weight is narrower than one group."""
        if not -len(shape) <= self.axis < len(shape):
            return f"without an axis {self.axis}"
        return None if shape[self.axis] >= self.m else "narrower than one group"

    def select(self, scores: Any, kept: int) -> Any:  # noqa: ARG002 - the pattern fixes the count
        """Return the mask of the `n` largest of each group, ties to the lowest index."""
        axis = axis_of(self, self.axis, tuple(scores.shape))
        last = move_axis(scores, axis, -1)
        mask = full_mask(last, kept=False)
        whole = last.shape[-1] // self.m * self.m
        head, tail = last[..., :whole], last[..., whole:]
        if math.prod(head.shape):
            groups = head.reshape(-1, self.m)
            mask[..., :whole] = top_of_rows(groups, self.n).reshape(head.shape)
        if math.prod(tail.shape):
            rows = tail.reshape(-1, tail.shape[-1])
            best = top_of_rows(rows, min(tail.shape[-1], self.n))
            mask[..., whole:] = best.reshape(tail.shape)
        return contiguous(move_axis(mask, -1, axis))


ANY_POSITION = Unstructured()


def prune_mask(scores: ArrayT, kept: int, pattern: Pattern = ANY_POSITION) -> ArrayT:
    """Return the mask that keeps the best scores of one layer.

    Parameters
    ----------
    scores : numpy array or torch tensor
        Any shape, real dtype; higher means keep.
    kept : int
        How many positions to keep, 0 to the number of entries. A pattern may fix the count
        (``NM``: ``pattern.fixed_count(scores.shape)``) or have some only (``Filter``: multiples of
        a filter's entries); ``pattern.round_count(scores.shape, kept)`` is the nearest it can have.
    pattern : Unstructured, NM, Block, Filter or Channel
        Which positions compete with each other.

    Returns
    -------
    array or tensor of bool
        True = kept; shape, kind and device of `scores`. Exactly `kept` entries are True; ties keep
        the lowest index.

    Raises
    ------
    ValueError
        A score is NaN, `kept` is out of range, or it is no count that the pattern has.
    TypeError
        `scores` is not an array of real numbers, `kept` no integer, or `pattern` none.

    Examples
    --------
    >>> import numpy as np
    >>> prune_mask(np.array([[0.3, 0.1], [0.2, 0.4]]), 2)
    array([[ True, False],
           [False,  True]])
    """
    if isinstance(pattern, type) or not callable(getattr(pattern, "select", None)):
        msg = f"prune_mask: pattern is {pattern!r}, expected a value such as Unstructured()"
        raise TypeError(msg)
    ranked = checked_scores(scores, name="prune_mask: scores")
    shape = tuple(ranked.shape)
    what = "an integer: how many positions to keep"
    kept, size = integer(kept, name="prune_mask: kept", what=what), math.prod(shape)
    fixed = pattern.fixed_count(shape)
    if fixed is not None and kept != fixed:
        msg = f"prune_mask: kept is {kept}, but {pattern} keeps exactly {fixed} of shape {shape}"
        raise ValueError(msg)
    if not 0 <= kept <= size:
        msg = f"prune_mask: kept is {kept}, expected 0 to {size}, the entries of shape {shape}"
        raise ValueError(msg)
    below, above = pattern.nearest_counts(shape, kept)
    if kept not in (below, above):
        msg = (
            f"prune_mask: kept is {kept}, but {pattern} keeps whole groups of shape {shape}: the "
            f"nearest counts are {below} and {above}"
        )
        raise ValueError(msg)
    mask: ArrayT = pattern.select(ranked, kept)
    return mask


def _same_share(rows: Any, kept: int) -> Any:
    """Mark the largest of each row, kept / rows in each, the first rows one more."""
    share, more = divmod(kept, rows.shape[0]) if rows.shape[0] else (0, 0)
    mask = full_mask(rows, kept=False)
    mask[:more] = top_of_rows(rows[:more], share + 1) if more else False
    mask[more:] = top_of_rows(rows[more:], share)
    return mask
