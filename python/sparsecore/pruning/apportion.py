"""Apportionment: a total in integers by shares."""

from __future__ import annotations

from collections.abc import Mapping


def apportion(shares: Mapping[str, int], sizes: Mapping[str, int], total: int) -> dict[str, int]:
    """Split `total` in proportion to `shares`, no layer above its size, by largest remainder.

    Examples
    --------
    >>> apportion({"a": 1, "b": 1, "c": 1}, {"a": 1, "b": 9, "c": 9}, 8)
    {'a': 1, 'b': 4, 'c': 3}
    """
    left, rest = total, dict(shares)
    # A layer set dense takes less than its share, which only raises the others': so all layers
    # above 1 may be taken at once and the order does not matter.
    while True:
        unit = sum(rest.values())
        dense = [name for name, share in rest.items() if left * share > sizes[name] * unit]
        if not dense:
            break
        for name in dense:
            left -= sizes[name]
            del rest[name]
    counts = {name: sizes[name] for name in shares}
    if unit == 0:
        return counts
    counts |= {name: left * share // unit for name, share in rest.items()}
    spare = left - sum(counts[name] for name in rest)
    for name in sorted(rest, key=lambda name: -(left * rest[name] % unit))[:spare]:
        counts[name] += 1
    return counts
