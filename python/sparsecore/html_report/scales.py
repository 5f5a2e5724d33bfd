"""Axes of a chart: where a value lies, and which values are marked."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["Scale", "linear_ticks", "log_ticks", "spanning"]

# Times that differ more are told apart only on a logarithmic axis.
_SPAN_OF_LOG = 8.0


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to places, linear or logarithmic.

    Attributes
    ----------
    low, high : float
        The values at the ends; low < high, and above 0 where the scale is logarithmic.
    start, end : float
        The places of the ends.
    log : bool

    Examples
    --------
    >>> Scale(1.0, 100.0, 0.0, 50.0, log=True)(10.0)
    25.0
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the place of a value."""
        form = math.log if self.log else float
        low, high = form(self.low), form(self.high)
        return self.start + (self.end - self.start) * (form(value) - low) / (high - low)

    @property
    def ticks(self) -> list[float]:
        """The values that are marked."""
        return (log_ticks if self.log else linear_ticks)(self.low, self.high)


def spanning(values: Sequence[float], start: float, end: float) -> Scale:
    """Return a scale for all of `values`, none negative: from 0, or logarithmic where they differ.

    Examples
    --------
    >>> spanning([1.0, 3.0], 0.0, 1.0).low, spanning([1.0, 300.0], 0.0, 1.0).log
    (0.0, True)
    """
    low, high = min(values), max(values)
    if low > 0 and high / low > _SPAN_OF_LOG:
        return Scale(_at_most(low / 1.1), _at_least(1.1 * high), start, end, log=True)
    return Scale(0.0, 1.1 * high or 1.0, start, end)


def linear_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return the multiples of 1, 2 or 5 times a power of ten in [low, high], `most` at most.

    Examples
    --------
    >>> linear_ticks(0.0, 1.0)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(s for s in (power, 2 * power, 5 * power, 10 * power) if (high - low) / s < most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{k * step:.12g}") for k in range(first, last + 1)]


def log_ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Return powers of ten in [low, high], and their multiples by 2 and 5 where few fit.

    Examples
    --------
    >>> log_ticks(0.9, 30.0), log_ticks(1.0, 1e4)
    ([1.0, 2.0, 5.0, 10.0, 20.0], [1.0, 10.0, 100.0, 1000.0, 10000.0])
    """
    exponents = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        values = (float(f"{factor}e{power}") for power in exponents for factor in factors)
        ticks = [
            value for value in values if low <= value * (1 + 1e-9) and value <= high * (1 + 1e-9)
        ]
        if len(ticks) <= most:
            return ticks
    return ticks[:: -(-len(ticks) // most)]


def _at_least(value: float) -> float:
    """Return the least 1, 2 or 5 times a power of ten that is not below `value`."""
    return _rounded(value, min, lambda tick: tick >= value * (1 - 1e-9))


def _at_most(value: float) -> float:
    return _rounded(value, max, lambda tick: tick <= value * (1 + 1e-9))


def _rounded(
    value: float, best: Callable[[list[float]], float], fits: Callable[[float], bool]
) -> float:
    power = math.floor(math.log10(value))
    candidates = [
        float(f"{factor}e{p}") for p in (power - 1, power, power + 1) for factor in (1, 2, 5)
    ]
    return best([tick for tick in candidates if fits(tick)])
