"""Seconds on the device: events around each call, the caches emptied before it."""

import random
import time
from collections.abc import Callable, Mapping

import numpy as np
import torch

from sparsecore.timing import Timing

__all__ = ["EMPTIED", "captured", "interleaved_on_device", "seconds_of_calls"]

# Written before each call: several times the second-level cache of any device so far.
EMPTIED = 256 << 20
_WARMUP = 3


def interleaved_on_device(
    contenders: Mapping[str, Callable[[], object]], *, min_runs: int, min_seconds: float
) -> dict[str, Timing]:
    """Measure calls against each other, in turns, by the device's own clock.

    While the device empties its caches the host runs ahead, so what the host takes to launch a call
    is not in its time, unless it takes longer than that (about 60 us).

    Parameters
    ----------
    contenders : mapping of str to callable
        Each launches its work on the current stream and waits for nothing.
    min_runs : int
        Samples of each, at least.
    min_seconds : float
        Rounds go on until so many seconds are spent in the calls, all of them together.
    """
    emptied = torch.empty(EMPTIED, dtype=torch.uint8, device="cuda")
    for call in contenders.values():
        for _ in range(_WARMUP):
            call()
    torch.cuda.synchronize()
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    names, order, spent = list(contenders), random.Random(0), 0.0
    while min(map(len, samples.values())) < min_runs or spent < min_seconds:
        order.shuffle(names)
        marks = {}
        for name in names:
            begin, end = _event(), _event()
            emptied.zero_()
            begin.record()
            contenders[name]()
            end.record()
            marks[name] = begin, end
        torch.cuda.synchronize()
        for name, (begin, end) in marks.items():
            samples[name].append(begin.elapsed_time(end) * 1e-3)
            spent += samples[name][-1]
    return {name: _summary(found) for name, found in samples.items()}


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def _summary(samples: list[float]) -> Timing:
    median, p10, p90 = np.percentile(samples, (50, 10, 90))
    return Timing(float(median), float(p10), float(p90), len(samples))


def seconds_of_calls(call: Callable[[], object], *, calls: int = 100) -> float:
    """Return what a call costs whoever makes one after another: the host's clock, caches warm."""
    call()
    torch.cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(calls):
        call()
    torch.cuda.synchronize()
    return (time.perf_counter() - begin) / calls


def captured(call: Callable[[], object]) -> Callable[[], object]:
    """Return what replays a call from a CUDA graph."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # what is made once is made before
        for _ in range(_WARMUP):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = call()

    def replay() -> object:
        graph.replay()
        return kept

    return replay
