"""Positions of a matrix: CSR's columns and offsets from and to ``row * columns + column``."""

import torch
from torch import Tensor

from sparsecore.library.structures import narrowed

__all__ = ["ascending", "compressed", "flat_positions", "random_outside"]


def flat_positions(indices: Tensor, indptr: Tensor, columns: int) -> Tensor:
    """Return ``row * columns + column`` of each entry, (nnz,) int64, ascending.

    Examples
    --------
    >>> flat_positions(torch.tensor([1, 0, 3]), torch.tensor([0, 1, 3]), 4).tolist()
    [1, 4, 7]
    """
    counts = indptr.long().diff()
    return torch.arange(len(counts)).repeat_interleave(counts).mul_(columns).add_(indices)


def compressed(flat: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Return indices and indptr, each in its narrowest signed dtype, of ascending positions.

    Examples
    --------
    >>> indices, indptr = compressed(torch.tensor([1, 4, 7]), 2, 4)
    >>> indices.tolist(), indptr.tolist(), indices.dtype
    ([1, 0, 3], [0, 1, 3], torch.int8)
    """
    width = max(columns, 1)  # without columns there are no positions either
    counts = torch.bincount(flat // width, minlength=rows)
    indptr = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return narrowed(flat % width), narrowed(indptr)


def ascending(numbers: Tensor) -> Tensor:
    """Return integers sorted; numpy sorts in place, where torch takes five times the memory."""
    ordered = numbers.clone()
    ordered.numpy().sort()
    return ordered


def random_outside(
    taken: Tensor, size: int, count: int, *, generator: torch.Generator | None = None
) -> Tensor:
    """Draw different positions that are not taken, every choice of them as likely as any other.

    Parameters
    ----------
    taken : (t,) int64
        Ascending, different, in [0, size).
    size : int
        Positions in all.
    count : int
        How many to draw, at most ``size - t``.
    generator : torch.Generator, optional
        torch's default one if not given.

    Returns
    -------
    Tensor, (count,) int64
        Ascending.

    Raises
    ------
    ValueError
        If fewer positions are free.

    Notes
    -----
    Memory is proportional to ``t + count``, whatever the size.

    Examples
    --------
    >>> random_outside(torch.tensor([0, 2, 3]), 6, 3).tolist()
    [1, 4, 5]
    """
    free = size - len(taken)
    if not 0 <= count <= free:
        msg = f"random_outside: count is {count}, expected 0 to the {free} positions not taken"
        raise ValueError(msg)
    ranks = _distinct(free, count, generator)
    # taken[i] - i free positions come before taken[i].
    before = taken - torch.arange(len(taken))
    return ranks + torch.searchsorted(before, ranks, right=True)


def _distinct(n: int, count: int, generator: torch.Generator | None) -> Tensor:
    """Draw `count` different numbers below n, ascending."""
    if 2 * count >= n:
        return ascending(torch.randperm(n, generator=generator)[:count])
    found = torch.empty(0, dtype=torch.int64)
    while len(found) < count:
        # Fewer than half of the numbers are taken: some spare, and seldom a third round.
        more = torch.randint(n, (5 * (count - len(found)) // 4 + 8,), generator=generator)
        found = ascending(torch.cat([found, more]))
        first = torch.ones(len(found), dtype=torch.bool)
        first[1:] = found[1:] != found[:-1]
        found = found[first]
    # Of all that were found, those that are too many leave, each choice as likely.
    kept = torch.ones(len(found), dtype=torch.bool)
    kept[_distinct(len(found), len(found) - count, generator)] = False
    return found[kept]
