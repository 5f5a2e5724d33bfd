"""What leaves and what comes in dynamic sparse training: pure functions over tensors."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from sparsecore.pruning._arrays import checked_scores, top_of_rows

__all__ = ["drop_fraction", "largest_outside", "smallest"]


def drop_fraction(step: float, *, alpha: float, stop: float) -> float:
    """Return the fraction of a layer's entries that a mask update drops: cosine decay.

    ``alpha / 2 * (1 + cos(pi * step / stop))``, and 0 from `stop` on.

    Parameters
    ----------
    step : float
        Steps of training so far.
    alpha : float
        The fraction at step 0, in [0, 1].
    stop : float
        The step where mask updates end.

    References
    ----------
    Evci et al., "Rigging the Lottery: Making All Tickets Winners", ICML 2020, section 3.

    Examples
    --------
    >>> [round(drop_fraction(t, alpha=0.3, stop=300), 6) for t in (0, 150, 300)]
    [0.3, 0.15, 0.0]
    """
    if step >= stop:
        return 0.0
    return alpha / 2 * (1 + math.cos(math.pi * step / stop))


def smallest(values: Tensor, count: int, *, name: str) -> Tensor:
    """Return the places of the `count` smallest magnitudes, (count,) int64 ascending.

    Of equal ones the later leave first. `name` is what an error calls the values.

    Raises
    ------
    ValueError
        If a value is NaN.

    Examples
    --------
    >>> smallest(torch.tensor([3.0, -1.0, 0.5, 1.0]), 2, name="w").tolist()
    [2, 3]
    """
    scores = checked_scores(values.abs(), name=name)
    kept: Tensor = top_of_rows(scores[None], len(values) - count)[0]
    return (~kept).nonzero().flatten()


def largest_outside(
    blocks: Iterable[tuple[int, Tensor]], taken: Tensor, count: int, *, name: str
) -> Tensor:
    """Return the positions of the `count` largest magnitudes of a matrix that are not taken.

    Parameters
    ----------
    blocks : iterable of (first row, (b, columns) Tensor)
        The matrix, rows in order; a block is overwritten.
    taken : (t,) int64
        Positions ``row * columns + column``, ascending.
    count : int
        At most as many as are not taken.
    name : str
        What an error calls the matrix.

    Returns
    -------
    Tensor, (count,) int64
        Ascending; of equal magnitudes the lowest positions. Besides a block, memory is taken by
        `count` candidates only.

    Raises
    ------
    ValueError
        If the matrix has a NaN.

    References
    ----------
    Evci et al., ICML 2020, section 3 (grow); blocks are ours, the result is that of the whole.

    Examples
    --------
    >>> rows = [(0, torch.tensor([[1.0, -9.0]])), (1, torch.tensor([[3.0, -4.0]]))]
    >>> largest_outside(rows, torch.tensor([1]), 2, name="gradient").tolist()
    [2, 3]
    """
    best, at = torch.empty(0), torch.empty(0, dtype=torch.int64)
    for first, block in blocks:
        scores = checked_scores(block, name=name).abs_().flatten()
        start, taken = first * block.shape[1], taken.to(block.device)
        inside = taken[
            torch.searchsorted(taken, start) : torch.searchsorted(taken, start + len(scores))
        ]
        scores[inside - start] = -1  # below every magnitude
        # Positions ascend, so what equals the least candidate comes too late.
        least = best.min() if len(at) == count and count else -1
        new = (scores > least).nonzero().flatten()
        best, at = torch.cat([best.to(scores), scores[new]]), torch.cat([at.to(new), new + start])
        kept = top_of_rows(best[None], min(count, len(best)))[0]
        best, at = best[kept], at[kept]
    return at
