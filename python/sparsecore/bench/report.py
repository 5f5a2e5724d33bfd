"""What comes out of a run: rows, and what they amount to. Everything here is ready for JSON."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeAlias

from sparsecore.bench.comparison import Case
from sparsecore.timing import Timing

__all__ = [
    "against_best",
    "break_even",
    "drift",
    "labels",
    "mean_by_sparsity",
    "row",
    "series",
    "summary",
]

Row: TypeAlias = Mapping[str, Any]

_MEASURED = ("contenders", "ratio", "best", "dense_baseline")
# Labels of rows that are never taken together.
_KINDS = ("dtype", "gradient", "build")
# Labels by which the rows of one line of a plot differ.
_WITHIN_SERIES = ("pattern", "M", "K", "nnz", "sparsity")


def row(
    case: Case, unit: str, times: Mapping[str, Timing], excess: Mapping[str, float]
) -> dict[str, Any]:
    """Return one case's measurements.

    Parameters
    ----------
    times : mapping of str to Timing
        By contender, in seconds.
    excess : mapping of str to float
        By contender, how far its result was off, as a multiple of what rounding permits.
    """
    contenders = {
        name: {
            "role": case.contenders[name].role,
            "packing": case.contenders[name].packing,
            **asdict(timing),
            unit: case.work / timing.median * 1e-9,
            "excess": excess[name],
        }
        for name, timing in times.items()
    }
    first = next(iter(times))
    dense = _fastest(contenders, "baseline", ("none",))
    return {
        **case.labels,
        "contenders": contenders,
        "ratio": {
            name: timing.median / times[first].median
            for name, timing in times.items()
            if name != first
        },
        "best": _best(contenders),
        "dense_baseline": dense,
    }


def _best(contenders: Mapping[str, Row]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return for each of ours the fastest peer and baseline, and its time over ours.

    Who packs in the call itself competes with those that need no packing or include theirs;
    everyone else competes with those that have packed beforehand, too.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for name, own in contenders.items():
        if own["role"] != "ours":
            continue
        rivals = {"none", "included" if own["packing"] == "included" else "beforehand"}
        for role in ("peer", "baseline"):
            best = _fastest(contenders, role, rivals)
            if best is not None:
                ratio = contenders[best]["median"] / own["median"]
                found.setdefault(name, {})[role] = {"contender": best, "ratio": ratio}
    return found


def _fastest(contenders: Mapping[str, Row], role: str, packings: Iterable[str]) -> str | None:
    names = [
        name
        for name, found in contenders.items()
        if found["role"] == role and found["packing"] in packings
    ]
    return min(names, key=lambda name: contenders[name]["median"], default=None)


def summary(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Return, for each other contender, the geometric mean of its ratios, the least, and where."""
    names = dict.fromkeys(name for row in rows for name in row["ratio"])
    return {
        name: _spread([(row, row["ratio"][name]) for row in rows if name in row["ratio"]])
        for name in names
    }


def against_best(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the spread of the ratio of each of ours to the best peer and baseline of each row.

    One entry for each contender, ``against`` ("peer" or "baseline") and kind of row; its ``parts``
    have the same for the rows of one sparsity and for those of one N.
    """
    found = []
    groups: dict[tuple[Any, ...], list[tuple[Row, float]]] = {}
    for row in rows:
        kind = tuple((key, row[key]) for key in _KINDS if key in row)
        for name, rivals in row["best"].items():
            for against, rival in rivals.items():
                groups.setdefault((name, against, kind), []).append((row, rival["ratio"]))
    for (name, against, kind), pairs in groups.items():
        parts = [
            {key: value, **_spread([pair for pair in pairs if pair[0].get(key) == value])}
            for key in ("sparsity", "N")
            for value in sorted({row[key] for row, _ in pairs if key in row})
        ]
        entry = {"contender": name, "against": against, **dict(kind)}
        found.append({**entry, **_spread(pairs), "parts": parts})
    return found


def break_even(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return from which sparsity on each product beats the best dense one, in each series.

    The ratio is the geometric mean over the rows of a sparsity, interpolated in between. Where it
    is above 1 at the least sparsity measured, that is an upper bound (``at_most``); where it is
    below 1 at the greatest, there is none.
    """
    found = []
    for group in series([row for row in rows if "N" in row]).values():
        fixed = {key: v for key, v in labels(group[0]).items() if key not in _WITHIN_SERIES}
        for name, own in group[0]["contenders"].items():
            if own["role"] == "baseline" or own["packing"] == "included":
                continue
            points = _dense_ratios(group, name)
            if len(points) > 1:
                sparsity, at_most = _crossing(points)
                found.append({"contender": name, **fixed, "sparsity": sparsity, "at_most": at_most})
    return found


def series(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Group the rows that have a sparsity by their other labels; shapes and counts are none."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if "sparsity" in row:
            named = (f"{k} {v}" for k, v in labels(row).items() if k not in _WITHIN_SERIES)
            groups.setdefault(", ".join(named), []).append(row)
    return groups


def labels(row: Row) -> dict[str, Any]:
    """Return what says which row it is."""
    return {key: value for key, value in row.items() if key not in _MEASURED}


def drift(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    """Return by how much of itself the floor moved during a run, at worst."""
    return max(abs(after[name] / before[name] - 1) for name in before)


def mean_by_sparsity(pairs: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the geometric mean of (sparsity, value) pairs at each sparsity, in order."""
    groups: dict[float, list[float]] = {}
    for sparsity, value in sorted(pairs):
        groups.setdefault(sparsity, []).append(value)
    return [(sparsity, _mean(values)) for sparsity, values in groups.items()]


def _spread(pairs: Sequence[tuple[Row, float]]) -> dict[str, Any]:
    worst, least = min(pairs, key=lambda pair: pair[1])
    return {
        "rows": len(pairs),
        "geometric_mean": _mean([ratio for _, ratio in pairs]),
        "least": least,
        "least_at": labels(worst),
    }


def _mean(values: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def _dense_ratios(group: Sequence[Row], name: str) -> list[tuple[float, float]]:
    pairs = []
    for row in group:
        found, dense = row["contenders"], row["dense_baseline"]
        if name in found and dense is not None:
            pairs.append((row["sparsity"], found[dense]["median"] / found[name]["median"]))
    return mean_by_sparsity(pairs)


def _crossing(points: Sequence[tuple[float, float]]) -> tuple[float | None, bool]:
    """Return where the ratio stays above 1 from, and whether that is only an upper bound."""
    losing = [i for i, (_, ratio) in enumerate(points) if ratio < 1]
    if not losing:
        return points[0][0], True
    last = losing[-1]
    if last == len(points) - 1:
        return None, False
    (s0, r0), (s1, r1) = points[last], points[last + 1]
    return s0 + (s1 - s0) * math.log(r0) / (math.log(r0) - math.log(r1)), False
