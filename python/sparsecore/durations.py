"""Durations as text."""

__all__ = ["duration"]


def duration(seconds: float) -> str:
    """Format seconds with three digits and a unit.

    Examples
    --------
    >>> duration(0.00123), duration(45.6e-6), duration(12)
    ('1.23 ms', '45.6 us', '12 s')
    """
    rounded = float(f"{seconds:.3g}")
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if rounded >= size:
            return f"{rounded / size:.10g} {unit}"
    return f"{rounded * 1e9:.10g} ns"
