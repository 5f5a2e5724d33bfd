"""Numbers as a page shows them."""

import math

from sparsecore.durations import duration
from sparsecore.html_report.page import ABSENT

__all__ = ["count", "duration_text", "nbytes_text", "percent", "ratio_text"]


def percent(fraction: float) -> str:
    """Format a fraction with one decimal; what is not quite all or nothing is not shown as that.

    Examples
    --------
    >>> percent(0.5), percent(0.90625), percent(0.99999), percent(0.00001), percent(1.0)
    ('50.0 %', '90.6 %', '>99.9 %', '<0.1 %', '100.0 %')
    """
    if math.isnan(fraction):
        return ABSENT
    if 0.999 < fraction < 1:
        return ">99.9 %"
    if 0 < fraction < 0.001:
        return "<0.1 %"
    return f"{100 * fraction:.1f} %"


def nbytes_text(nbytes: float) -> str:
    """Format bytes with three digits and a decimal unit.

    Examples
    --------
    >>> nbytes_text(999), nbytes_text(1_234_567), nbytes_text(999_999), nbytes_text(7.2e10)
    ('999 B', '1.23 MB', '1 MB', '72 GB')
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if float(f"{nbytes:.3g}") >= size:
            return f"{float(f'{nbytes / size:.3g}'):.10g} {unit}"
    return f"{nbytes:.0f} B"


def duration_text(seconds: float) -> str:
    """Format seconds with three digits and a unit.

    Examples
    --------
    >>> duration_text(45.6e-6), duration_text(0.00123)
    ('45.6 µs', '1.23 ms')
    """
    return duration(seconds).replace("us", "µs")


def ratio_text(before: float, after: float) -> str:
    """Say how many times faster: before / after.

    Examples
    --------
    >>> ratio_text(4.0, 1.0), ratio_text(1.0, 1.0)
    ('4.00x', '1.00x')
    """
    return f"{before / after:.2f}x" if after > 0 else ABSENT


def count(number: int, noun: str) -> str:
    """Format a count with its noun.

    Examples
    --------
    >>> count(1, "layer"), count(1200, "layer")
    ('1 layer', '1,200 layers')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
