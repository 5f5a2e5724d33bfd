"""What ranks tell each other before they exchange data, so that none waits for one that has failed.

A collective that one rank does not enter leaves the others waiting for it. So whatever may fail
runs first, in `exchange`: a few integers of every rank go to all ranks, with a flag that says
whether the rank has failed, and where one has, all raise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from sparsecore.interop import import_torch

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

T = TypeVar("T")

# What other ranks raise where one has raised this; RuntimeError for anything else.
_SAME_KIND: dict[str, type[Exception]] = {"TypeError": TypeError, "ValueError": ValueError}


def rank_and_size(group: Any, *, caller: str) -> tuple[int, int]:
    """Return this process's rank in a process group and the group's size.

    Parameters
    ----------
    group : torch.distributed.ProcessGroup or None
        None is the group of all processes.
    caller : str
        What error messages begin with.

    Raises
    ------
    RuntimeError
        torch has no distributed package, or there is no process group, or none for CPU tensors.
    ValueError
        This process does not belong to `group`.
    """
    import_torch()
    import torch.distributed as dist

    if not dist.is_available() or not dist.is_initialized():
        msg = f"{caller}: no process group, expected a call of torch.distributed.init_process_group"
        raise RuntimeError(msg)
    rank = dist.get_rank(group)
    if rank < 0:
        msg = f"{caller}: rank {dist.get_rank()} does not belong to group"
        raise ValueError(msg)
    backends = dist.get_backend_config(group)
    if "cpu:" not in backends:
        msg = (
            f"{caller}: the process group has backend {backends!r}, expected one for CPU tensors, "
            "as 'gloo' or 'cpu:gloo,cuda:nccl'"
        )
        raise RuntimeError(msg)
    return rank, dist.get_world_size(group)


def exchange(
    caller: str, prepare: Callable[[], tuple[T, Sequence[int]]], *, facts: int, group: Any
) -> tuple[T, npt.NDArray[np.int64]]:
    """Run something on every rank and tell all ranks what came of it.

    Parameters
    ----------
    caller : str
        What error messages begin with.
    prepare : callable
        Returns its result and `facts` integers of at most 63 bits. It may raise; it must not
        wait for other ranks.
    facts : int
        The same on every rank.
    group : torch.distributed.ProcessGroup or None

    Returns
    -------
    result, (ranks, facts) int64
        The own result, and the integers of every rank.

    Raises
    ------
    Exception
        What `prepare` raised here. Where it raised on other ranks only, the first of them counts:
        TypeError or ValueError where it was one of these there, else RuntimeError, with its rank
        and message.
    """
    torch = import_torch()
    import torch.distributed as dist

    _, ranks = rank_and_size(group, caller=caller)
    failure: Exception | None = None
    values: Sequence[int] = [0] * facts
    try:
        result, values = prepare()
    except Exception as error:
        failure = error
    row = torch.tensor([failure is not None, *values], dtype=torch.int64)
    rows = [torch.empty_like(row) for _ in range(ranks)]
    dist.all_gather(rows, row, group=group)
    table = torch.stack(rows).numpy()
    if table[:, 0].any():
        _raise_together(caller, failure, ranks, group)
    return result, table[:, 1:]


def _raise_together(caller: str, failure: Exception | None, ranks: int, group: Any) -> None:
    import torch.distributed as dist

    told: list[tuple[str, str] | None] = [None] * ranks
    mine = None if failure is None else (type(failure).__name__, str(failure))
    dist.all_gather_object(told, mine, group=group)
    if failure is not None:
        raise failure
    rank, (kind, text) = next((r, entry) for r, entry in enumerate(told) if entry is not None)
    msg = f"{caller}: rank {rank} raised {kind}: {text}"
    raise _SAME_KIND.get(kind, RuntimeError)(msg)
