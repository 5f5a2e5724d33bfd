"""Sums over the batches of all ranks: each rank runs its own, and all get the same numbers.

Tensors are added up as they are, signed: absolute values and squares are the callers', afterwards.
Ranks first agree that none has failed, so that none waits for one that raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import torch.distributed as dist
from torch import Tensor

from sparsecore.distributed.agreement import exchange

__all__ = ["agreed", "in_step", "mean_over_ranks", "sum_over_ranks_"]

T = TypeVar("T")


def agreed(caller: str, compute: Callable[[], T], *, group: Any) -> T:
    """Return what a function returns; where it raises on one rank, raise on all.

    Parameters
    ----------
    caller : str
        What messages begin with.
    compute : callable
        It must not wait for other ranks.
    group : ProcessGroup or None
        None for this process alone, which asks no other.

    Examples
    --------
    >>> agreed("example", lambda: 3, group=None)
    3
    """
    if group is None:
        return compute()
    return exchange(caller, lambda: (compute(), ()), facts=0, group=group)[0]


def sum_over_ranks_(tensors: Mapping[str, Tensor], *, group: Any) -> None:
    """Add up dense tensors of the same names, shapes and dtypes in place: alike on every rank."""
    for tensor in tensors.values():
        dist.all_reduce(tensor, group=group)


def mean_over_ranks(
    caller: str, compute: Callable[[], tuple[int, dict[str, Tensor]]], *, group: Any
) -> dict[str, Tensor]:
    """Return ``sum_r n_r t_r / sum_r n_r`` of tensors by name.

    Parameters
    ----------
    caller : str
    compute : callable
        Returns this rank's number of samples and its means over them. It must not wait for others.
    group : ProcessGroup
        A collective of it.

    Raises
    ------
    Exception
        On every rank where `compute` raises on one.
    """

    def prepare() -> tuple[dict[str, Tensor], list[int]]:
        count, means = compute()
        return means, [count]

    means, counts = exchange(caller, prepare, facts=1, group=group)
    share = int(counts[dist.get_rank(group), 0]) / int(counts.sum())
    parts = {name: (mean * share).contiguous() for name, mean in means.items()}
    sum_over_ranks_(parts, group=group)
    return parts


def in_step(
    caller: str, items: Iterator[T], size: Callable[[T], int], *, group: Any
) -> Iterator[tuple[T, int]]:
    """Yield the rank's items one by one, all ranks at once, with their sizes on all ranks together.

    Where a model is sharded a rank cannot run it alone.

    Parameters
    ----------
    caller : str
    items : iterator
        It may raise; then all ranks do.
    size : callable
        Of an item, at least 1.
    group : ProcessGroup

    Raises
    ------
    ValueError
        On every rank: one has fewer items than another.
    """

    def take() -> tuple[T | None, list[int]]:
        for item in items:
            return item, [size(item)]
        return None, [0]

    number = 0
    while True:
        item, sizes = exchange(caller, take, facts=1, group=group)
        ended = [rank for rank, n in enumerate(sizes[:, 0]) if not n]
        if item is not None and not ended:
            yield item, int(sizes.sum())
            number += 1
            continue
        if len(ended) < len(sizes):
            msg = (
                f"{caller}: rank {ended[0]} has {number} batches, others have more; expected as "
                "many on every rank, as all run a sharded model together"
            )
            raise ValueError(msg)
        return
