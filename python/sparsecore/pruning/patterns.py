"""Patterns: which positions may be pruned together, and the mask that keeps the best of them."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sparsecore.pruning._arrays import checked_scores, full_mask, top_of_rows

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

ArrayT = TypeVar("ArrayT", "npt.NDArray[Any]", "torch.Tensor")


class Pattern(Protocol):
    """What a pattern of kept positions has to answer."""

    @property
    def sparsity(self) -> float | None:
        """The one sparsity that the pattern has, or None where it can have any."""

    def fixed_count(self, shape: tuple[int, ...]) -> int | None:
        """Return the one kept count that the pattern has in `shape`, or None for any."""

    def select(self, scores: Any, kept: int) -> Any:
        """Return the mask of the `kept` best scores; the arguments are already checked."""


@dataclass(frozen=True, slots=True)
class Unstructured:
    """Every position is kept or pruned by itself.

    Examples
    --------
    >>> import numpy as np
    >>> prune_mask(np.array([3.0, 1.0, 1.0, 2.0]), 3, Unstructured())
    array([ True,  True, False,  True])
    """

    @property
    def sparsity(self) -> None:
        """None: any sparsity is possible."""
        return

    def fixed_count(self, shape: tuple[int, ...]) -> None:  # noqa: ARG002 - any count fits any shape
        """Return None: any count is possible."""
        return

    def select(self, scores: Any, kept: int) -> Any:
        """Return the mask of the `kept` largest scores, ties to the lowest flat index."""
        return top_of_rows(scores.reshape(1, -1), kept).reshape(scores.shape)


@dataclass(frozen=True, slots=True)
class NM:
    """`n` kept of each `m` consecutive entries along the last axis.

    A tail group of t < m entries keeps min(t, n). ``NM(2, 4)`` on absolute values is the mask of
    ``sparsecore.prune_24``.

    Parameters
    ----------
    n, m : int
        1 <= n < m.

    Raises
    ------
    ValueError
        Unless 1 <= n < m.
    TypeError
        `n` or `m` is not an integer.

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

    def __post_init__(self) -> None:
        """Reject groups that keep nothing or everything."""
        if not 1 <= operator.index(self.n) < operator.index(self.m):
            msg = f"NM({self.n}, {self.m}): keeps n of each m, expected 1 <= n < m"
            raise ValueError(msg)

    @property
    def sparsity(self) -> float:
        """The sparsity of whole groups, 1 - n / m."""
        return 1 - self.n / self.m

    def fixed_count(self, shape: tuple[int, ...]) -> int:
        """Return how many entries the pattern keeps in an array of `shape`."""
        if not shape:
            msg = f"NM({self.n}, {self.m}): scores have no axis to take groups along"
            raise ValueError(msg)
        groups, tail = divmod(shape[-1], self.m)
        return math.prod(shape[:-1]) * (groups * self.n + min(tail, self.n))

    def select(self, scores: Any, kept: int) -> Any:  # noqa: ARG002 - the pattern fixes the count
        """Return the mask of the `n` largest of each group, ties to the lowest index."""
        mask = full_mask(scores, kept=False)
        whole = scores.shape[-1] // self.m * self.m
        head, tail = scores[..., :whole], scores[..., whole:]
        if math.prod(head.shape):
            groups = head.reshape(-1, self.m)
            mask[..., :whole] = top_of_rows(groups, self.n).reshape(head.shape)
        if math.prod(tail.shape):
            rows = tail.reshape(-1, tail.shape[-1])
            best = top_of_rows(rows, min(tail.shape[-1], self.n))
            mask[..., whole:] = best.reshape(tail.shape)
        return mask


ANY_POSITION = Unstructured()


def prune_mask(scores: ArrayT, kept: int, pattern: Pattern = ANY_POSITION) -> ArrayT:
    """Return the mask that keeps the best scores of one layer.

    Parameters
    ----------
    scores : numpy array or torch tensor
        Any shape, real dtype; higher means keep.
    kept : int
        How many positions to keep, 0 to the number of entries. A pattern that fixes the count
        (``NM``) takes only that count, ``pattern.fixed_count(scores.shape)``.
    pattern : Unstructured or NM
        Which positions compete with each other.

    Returns
    -------
    array or tensor of bool
        True = kept; shape, kind and device of `scores`. Exactly `kept` entries are True; ties keep
        the lowest index.

    Raises
    ------
    ValueError
        A score is NaN, `kept` is out of range, or it is not the count that the pattern has.
    TypeError
        `scores` is not an array, or `kept` is not an integer.

    Examples
    --------
    >>> import numpy as np
    >>> prune_mask(np.array([[0.3, 0.1], [0.2, 0.4]]), 2)
    array([[ True, False],
           [False,  True]])
    """
    ranked = checked_scores(scores, name="prune_mask: scores")
    shape = tuple(ranked.shape)
    kept, size = _checked_count(kept), math.prod(shape)
    fixed = pattern.fixed_count(shape)
    if fixed is not None and kept != fixed:
        msg = f"prune_mask: kept is {kept}, but {pattern} keeps exactly {fixed} of shape {shape}"
        raise ValueError(msg)
    if not 0 <= kept <= size:
        msg = f"prune_mask: kept is {kept}, expected 0 to {size}, the entries of shape {shape}"
        raise ValueError(msg)
    mask: ArrayT = pattern.select(ranked, kept)
    return mask


def _checked_count(kept: object) -> int:
    try:
        return operator.index(kept)  # type: ignore[arg-type]
    except TypeError:
        msg = (
            f"prune_mask: kept is {kept!r}, a {type(kept).__name__}, expected an integer: how many "
            "positions to keep"
        )
        raise TypeError(msg) from None
