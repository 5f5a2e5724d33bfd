"""Processes that are the ranks of a gloo process group, started once and told what to run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

# A rank that hangs fails its test after this many seconds; the group's own limit is below it.
_LIMIT = 60.0
_GROUP_LIMIT = timedelta(seconds=20)


class Ranks:
    """Processes that run functions of modules which do not import pytest."""

    def __init__(self, size: int, folder: Path) -> None:
        # One process imports torch, then forks the ranks before it has any thread.
        context = get_context("forkserver")
        # DistributedDataParallel imports dynamo when one is made.
        context.set_forkserver_preload(
            [
                "distributed_cases",
                "dtensor_cases",
                "parallel_refusal_cases",
                "sharded_selection_cases",
                "torch._dynamo",
            ]
        )
        self.pipes, self.processes = [], []
        for rank in range(size):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, folder / "store", rank, size))
            process.start()
            theirs.close()
            self.pipes.append(ours)
            self.processes.append(process)

    def start(self, function: Callable[..., Any], *arguments: Any, ranks: Sequence[int]) -> None:
        """Have ranks call a function, each with its place among `ranks` first."""
        for place, rank in enumerate(ranks):
            self.pipes[rank].send((function, place, arguments))

    def results(self, *, ranks: Sequence[int]) -> list[Any]:
        """Return what each has returned, or its exception."""
        deadline = time.monotonic() + _LIMIT
        answers = []
        for rank in ranks:
            if not self.pipes[rank].poll(max(0.0, deadline - time.monotonic())):
                self.close()
                msg = f"rank {rank} has not answered within {_LIMIT} s"
                raise TimeoutError(msg)
            answers.append(self.pipes[rank].recv())
        return answers

    def run(self, function: Callable[..., Any], *arguments: Any, size: int = 4) -> list[Any]:
        """Call ``function(rank, group, *arguments)`` on the last `size` processes, a group."""
        members = range(len(self.processes) - size, len(self.processes))
        self.start(function, size, *arguments, ranks=members)
        return self.results(ranks=members)

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.join()


def _serve(pipe: Any, store: Path, rank: int, size: int) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    import torch
    import torch.distributed as dist

    import sparsecore as sc

    torch.set_num_threads(1)
    sc.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{store}",
        rank=rank,
        world_size=size,
        timeout=_GROUP_LIMIT,
    )
    # Every process takes part in making a group, its member or not. Groups are of the last
    # processes, so that a rank in one is not the process's own number.
    groups = {
        n: dist.new_group(list(range(size - n, size)), timeout=_GROUP_LIMIT)
        for n in range(1, size + 1)
    }
    while True:
        function, place, (group, *arguments) = pipe.recv()
        try:
            answer = function(place, groups[group], *arguments)
        except Exception as error:
            answer = error
        pipe.send(answer)
