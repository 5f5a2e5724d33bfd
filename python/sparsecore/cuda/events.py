"""Seconds by the clock of a CUDA device."""

import time
from collections.abc import Callable
from typing import Any

from sparsecore import _core, interop

__all__ = ["seconds_of_calls"]


def seconds_of_calls(device: Any) -> Callable[[Callable[[], object], int], float]:
    """Return what measures calls that work on a device: an event before them, one behind them.

    The time between is what the device takes, or the host to make the calls where it takes longer:
    what whoever makes one call after another has to wait for. Nothing empties the caches.

    Parameters
    ----------
    device : torch.device
        The events are on its current stream, which the calls work on.

    Returns
    -------
    callable
        From a callable and a number of calls to the seconds that all of them take; as
        `sparsecore.timing.interleaved` is given it for `elapsed`. It waits for the device.
    """
    torch = interop.import_torch()

    def seconds(call: Callable[[], object], calls: int) -> float:
        with torch.cuda.device(device):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            for _ in range(calls):
                call()
            end.record()
            end.synchronize()
            return float(begin.elapsed_time(end)) * 1e-3

    def emulated(call: Callable[[], object], calls: int) -> float:
        begin = time.perf_counter()  # all is done when a call returns
        for _ in range(calls):
            call()
        return time.perf_counter() - begin

    return emulated if _core.cuda_is_emulated else seconds
