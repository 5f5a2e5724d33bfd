"""The constants of this machine that estimates go by: each is measured when it is first needed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TypeAlias

import numpy as np

from sparsecore import cpu, timing
from sparsecore.diagnosis.estimate import ERROR, Costs, Line

__all__ = ["CostsOf", "Machine", "Problem", "known_machine"]

PROBE_TIMER = partial(timing.interleaved, min_runs=7, min_seconds=0.02, sample_seconds=3e-4)
_DENSITIES = (0.1, 0.5)
_TINY = 16
_MATRIX, _CHANNELS = 256, 64
# Rows of the probes: what a multiplication costs hardly changes beyond the last.
_ROWS = (1, 4, 16, 64, 256, 1024)
# More than caches hold, where a processor has some tens of megabytes.
_STREAMED = 64 << 20
# Of a machine that does not tell.
_CACHE = 32 << 20
_SHIFTS = {"K": 10, "M": 20, "G": 30}


@dataclass(frozen=True, slots=True)
class Problem:
    """What the constants of a layer depend on.

    Attributes
    ----------
    dtype : str
    rows : int
        Of one call.
    kernel_size : tuple of int
        Of a convolution; () for a product of matrices.
    """

    dtype: str
    rows: int
    kernel_size: tuple[int, ...] = ()

    @property
    def probe(self) -> "Problem":
        """The problem whose measurement stands for this one."""
        rows = next((rows for rows in _ROWS if self.rows <= rows), _ROWS[-1])
        return Problem(self.dtype, rows, self.kernel_size)


CostsOf: TypeAlias = Callable[[Problem], Costs]
"""Whatever knows the constants of a problem."""


@dataclass
class Machine:
    """Measures the constants of problems, each once.

    Parameters
    ----------
    timer : Timer
        Measures the probes: matrices of 256 x 256 and 16 x 16, or convolutions of 64 and 16
        channels, dense, as CSR at densities of 10 % and 50 %, and as 2:4.
    threads : int
        What torch and sparsecore measure with: one, whatever they are set to, unless wished
        otherwise, as several wait for each other on a busy machine.
    """

    timer: timing.Timer = PROBE_TIMER
    threads: int = 1
    _known: dict[Problem, Costs] = field(default_factory=dict)
    _byte: float | None = None

    def __call__(self, problem: Problem) -> Costs:
        """Return the constants of a problem."""
        probe = problem.probe
        if probe not in self._known:
            self._known[probe] = self._measured(probe)
        return self._known[probe]

    @property
    def byte(self) -> float:
        """Seconds to read a byte that no cache holds."""
        if self._byte is None:
            data = np.ones(_STREAMED // 4, np.float32)
            self._byte = self.timer({"read": partial(np.dot, data, data)})["read"].p10 / data.nbytes
        return self._byte

    def _measured(self, probe: Problem) -> Costs:
        from sparsecore.diagnosis.probes import probes
        from sparsecore.nn.thread_count import using_threads

        size = _CHANNELS if probe.kernel_size else _MATRIX
        with using_threads(self.threads, name="doctor: threads"):
            calls = probes(probe, size, _DENSITIES), probes(probe, _TINY, _DENSITIES[:1])
            # Twice, with the other in between: what else the machine does comes and goes.
            first = [self._timed(one) for one in calls]
            again = [self._timed(one) for one in calls]
        error = max(ERROR, *map(_spread, first, again))
        large, tiny = map(_lesser, first, again)
        taps = int(np.prod(probe.kernel_size))
        macs = size * size * taps * probe.rows
        tiny_macs = _TINY * _TINY * taps * probe.rows
        few, many = (f"csr {density}" for density in _DENSITIES)
        slope = max(large[many] - large[few], 0.0) / ((_DENSITIES[1] - _DENSITIES[0]) * macs)
        call = max(tiny[few] - slope * _DENSITIES[0] * tiny_macs, 0.0)
        rest = max(large[few] - slope * _DENSITIES[0] * macs - call, 0.0)
        csr = Line(call, slope, rest / ((size + size * taps) * probe.rows))
        dense = _through(tiny["dense"], tiny_macs, large["dense"], macs)
        has_24 = "2:4" in large
        halves = (tiny_macs / 2, macs / 2)
        sparse24 = _through(tiny["2:4"], halves[0], large["2:4"], halves[1]) if has_24 else None
        return Costs(dense, csr, sparse24, self.byte, _cache(), error)

    def _timed(self, calls: dict[str, Callable[[], object]]) -> dict[str, float]:
        # Of a busy machine, the lower decile is what the kernels themselves take.
        return {name: timing.p10 for name, timing in self.timer(calls).items()}


def _lesser(first: Mapping[str, float], again: Mapping[str, float]) -> dict[str, float]:
    """Return the lesser of two measurements, of each name."""
    return {name: min(seconds, again[name]) for name, seconds in first.items()}


def _spread(first: Mapping[str, float], again: Mapping[str, float]) -> float:
    """Return by what factor two measurements of the same calls differ at most."""
    pairs = [sorted((seconds, again[name])) for name, seconds in first.items()]
    return max(high / low for low, high in pairs)


@cache
def _cache() -> int:
    """Return the bytes of the largest cache, as Linux tells them."""
    folder = Path("/sys/devices/system/cpu/cpu0/cache")
    texts = [path.read_text().strip() for path in folder.glob("index*/size")]
    sizes = [int(text[:-1]) << _SHIFTS[text[-1]] for text in texts if text[-1:] in _SHIFTS]
    return max(sizes, default=_CACHE)


def _through(tiny: float, tiny_macs: float, large: float, macs: float) -> Line:
    """Return the line through two measurements."""
    mac = max(large - tiny, 0.0) / (macs - tiny_macs)
    return Line(max(tiny - mac * tiny_macs, 0.0), mac)


def known_machine(threads: int | None, timer: timing.Timer | None) -> CostsOf:
    """Return the constants of this machine, measured once in a process for each setting.

    Parameters
    ----------
    threads : int, optional
        One if not given.
    timer : Timer, optional
        With one given, everything is measured anew.
    """
    if timer is not None:
        return Machine(timer, threads or 1)
    return _machine(threads or 1, cpu.target())


@cache
def _machine(threads: int, target: str) -> Machine:  # noqa: ARG001 - what times depend on
    return Machine(threads=threads)
