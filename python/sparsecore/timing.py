"""The package's only clock: interleaved medians, and the facts of the machine they were taken on.

Two measurements taken one after the other on a shared machine differ by more than most kernels do.
So contenders are measured in turns inside one loop, each sample is long enough for the clock to be
exact, the garbage collector is off meanwhile, and medians are compared.
"""

import gc
import math
import os
import platform
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from sparsecore import _core
from sparsecore.threads import get_num_threads

__all__ = ["Elapsed", "Timer", "Timing", "interleaved", "machine_facts"]

_SIMD_FLAGS = frozenset(
    {
        *("sse4_2", "avx", "f16c", "fma", "avx2", "avx_vnni"),
        *("avx512f", "avx512bw", "avx512dq", "avx512vl"),
        *("avx512_vnni", "avx512_bf16", "avx512_fp16"),
        *("amx_tile", "amx_int8", "amx_bf16"),
        *("asimd", "sve", "sve2"),
    }
)
_PACKAGES = ("numpy", "scipy", "torch", "sparsecore")
_MAX_REPEATS = 10_000_000
# The median and the deciles of fewer samples say little.
_LEAST_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of one call: the median and the two deciles over `runs` samples.

    A sample is the mean of as many calls as fill it, so `runs` counts samples, not calls.
    """

    median: float
    p10: float
    p90: float
    runs: int


Timer: TypeAlias = Callable[[Mapping[str, Callable[[], object]]], Mapping[str, Timing]]
"""Anything that measures contenders as :func:`interleaved` does with its options filled in."""

Elapsed: TypeAlias = Callable[[Callable[[], object], int], float]
"""From a callable and a number of calls to the seconds that they take one after another."""


def interleaved(
    contenders: Mapping[str, Callable[[], object]],
    *,
    min_runs: int = 15,
    min_seconds: float = 0.2,
    max_seconds: float = math.inf,
    warmup: int = 2,
    sample_seconds: float = 1e-3,
    pause: float = 0.0,
    clock: Callable[[], float] = time.perf_counter,
    elapsed: Elapsed | None = None,
) -> dict[str, Timing]:
    """Measure callables against each other, in turns.

    Each round takes one sample of every contender, in an order shuffled anew (the same in every
    run), so that none always follows the same other one. What a call returns is freed inside the
    sample: the user of the result pays for it, too.

    Parameters
    ----------
    contenders : mapping of str to callable
        What to measure, by name. They are called without arguments, on the calling thread.
    min_runs : int
        Samples taken of each contender, at least 1.
    min_seconds : float
        Rounds go on until this many seconds have gone by, all contenders together.
    max_seconds : float
        No round begins after this many seconds, except for the first five.
    warmup : int
        Calls of each contender before its first sample.
    sample_seconds : float
        A sample repeats its contender until it lasts about this long.
    pause : float
        Seconds of rest before each sample, in which another contender's threads that wait actively
        for their next call fall asleep.
    clock : callable
        Gives seconds; replaced in tests.
    elapsed : callable, optional
        Measures a sample; if not given, `clock` does. For calls that return before their work is
        done: `sparsecore.cuda.events.seconds_of_calls` is a CUDA device's.

    Returns
    -------
    dict of str to Timing
        In the order of `contenders`.

    Raises
    ------
    ValueError
        If there is no contender, or a number is out of its range.

    Examples
    --------
    >>> times = interleaved({"sum": lambda: sum(range(99)), "nothing": int}, min_seconds=0.01)
    >>> times["sum"].runs >= 15 and times["sum"].p10 <= times["sum"].median <= times["sum"].p90
    True
    """
    _check_options(contenders, min_runs, min_seconds, max_seconds, warmup, sample_seconds, pause)
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    order = random.Random(0)
    seconds = elapsed or partial(_elapsed, clock=clock)
    with _no_collection():
        repeats = {
            name: _repeats_of_a_sample(call, warmup, sample_seconds, seconds)
            for name, call in contenders.items()
        }
        start = clock()
        done = 0
        while done < min_runs or clock() - start < min_seconds:
            if done >= _LEAST_ROUNDS and clock() - start >= max_seconds:
                break
            order.shuffle(names)
            for name in names:
                if pause:
                    time.sleep(pause)
                samples[name].append(seconds(contenders[name], repeats[name]) / repeats[name])
            done += 1
    return {name: _summary(values) for name, values in samples.items()}


def _check_options(
    contenders: Mapping[str, object],
    min_runs: int,
    min_seconds: float,
    max_seconds: float,
    warmup: int,
    sample_seconds: float,
    pause: float,
) -> None:
    if not contenders:
        msg = "interleaved: contenders is empty, expected at least one callable"
        raise ValueError(msg)
    for name, value, least in (
        ("min_runs", min_runs, 1),
        ("min_seconds", min_seconds, 0),
        ("warmup", warmup, 0),
        ("sample_seconds", sample_seconds, 0),
        ("pause", pause, 0),
    ):
        if not (math.isfinite(value) and value >= least):
            msg = f"interleaved: {name} is {value}, expected a finite number of at least {least}"
            raise ValueError(msg)
    if not max_seconds >= 0:
        msg = f"interleaved: max_seconds is {max_seconds}, expected a number of at least 0"
        raise ValueError(msg)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector out of the samples."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _elapsed(call: Callable[[], object], repeats: int, *, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(repeats):
        call()
    return clock() - start


def _repeats_of_a_sample(
    call: Callable[[], object], warmup: int, sample_seconds: float, seconds: Elapsed
) -> int:
    for _ in range(warmup):
        call()
    repeats = 1
    while repeats < _MAX_REPEATS:
        elapsed = seconds(call, repeats)
        if elapsed >= sample_seconds:
            break
        # The first guesses are made of few, cold calls: grow by ten times at most.
        wanted = repeats * sample_seconds / elapsed if elapsed > 0 else math.inf
        repeats = min(10 * repeats, max(repeats + 1, math.ceil(min(wanted, _MAX_REPEATS))))
    return repeats


def _summary(samples: list[float]) -> Timing:
    median, p10, p90 = np.percentile(samples, (50, 10, 90))
    return Timing(float(median), float(p10), float(p90), len(samples))


def machine_facts(checkout: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """Say what a measurement was taken on, without naming the machine, its user or a path.

    Parameters
    ----------
    checkout : path, optional
        A folder of a git working tree; its commit is added.

    Returns
    -------
    dict
        JSON-ready. ``cpu`` (model name), ``cores`` (usable by this process), ``simd`` (the vector
        instruction sets among the CPU's flags), ``governor`` (None where not readable),
        ``memory_bytes``, ``os``, ``kernel``, ``machine``, ``python``, ``versions`` (of numpy,
        scipy, torch and sparsecore, as far as they are loaded), ``target`` and ``threads`` (what
        sparsecore's kernels use), ``torch_threads`` (None without torch), ``git_commit`` and
        ``git_dirty`` (None outside a working tree or without git).

    Examples
    --------
    >>> machine_facts()["cores"] >= 1
    True
    """
    torch = sys.modules.get("torch")
    cpu = _cpu_info(Path("/proc/cpuinfo"))
    commit, dirty = _git_state(checkout)
    return {
        "cpu": cpu.get("model name") or platform.processor() or platform.machine(),
        "cores": _usable_cores(),
        "simd": sorted(_SIMD_FLAGS & _cpu_flags(cpu)),
        "governor": _read(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "os": platform.system(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "versions": _versions(),
        "target": _core.target(),
        "threads": get_num_threads(),
        "torch_threads": None if torch is None else torch.get_num_threads(),
        "git_commit": commit,
        "git_dirty": dirty,
    }


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:  # not Linux, or a container that hides it: the fact is unknown
        return None


def _cpu_info(path: Path) -> dict[str, str]:
    """Return the fields of the first processor in Linux's cpuinfo."""
    first = (_read(path) or "").split("\n\n", 1)[0]
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _cpu_flags(cpu: Mapping[str, str]) -> frozenset[str]:
    return frozenset((cpu.get("flags") or cpu.get("Features") or "").split())


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _versions() -> dict[str, str]:
    loaded = ((name, sys.modules.get(name)) for name in _PACKAGES)
    return {name: str(module.__version__) for name, module in loaded if module is not None}


def _git_state(checkout: str | os.PathLike[str] | None) -> tuple[str | None, bool | None]:
    git = shutil.which("git")
    if checkout is None or git is None:
        return None, None

    def ask(*arguments: str) -> str | None:
        answer = subprocess.run(
            [git, "-C", os.fspath(checkout), *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        return answer.stdout.strip() if answer.returncode == 0 else None

    commit = ask("rev-parse", "HEAD")
    changes = ask("status", "--porcelain", "--untracked-files=no") if commit else None
    return commit, None if changes is None else bool(changes)
