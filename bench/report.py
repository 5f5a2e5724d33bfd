"""What comes out of a run: the JSON document, and a Markdown table of the same numbers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from comparison import Case
from sparsecore.timing import Timing

__all__ = ["drift", "markdown", "row", "summary"]


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
    ours = next(iter(times))
    dense = [name for name, contender in case.contenders.items() if contender.dense]
    return {
        **case.labels,
        "contenders": {
            name: {**asdict(timing), unit: case.work / timing.median * 1e-9, "excess": excess[name]}
            for name, timing in times.items()
        },
        "ratio": {
            name: timing.median / times[ours].median
            for name, timing in times.items()
            if name != ours
        },
        "dense_baseline": min(dense, key=lambda name: times[name].median),
    }


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return, for each other contender, the geometric mean of its ratios, the least, and where."""
    found: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(name for row in rows for name in row["ratio"]):
        having = [row for row in rows if name in row["ratio"]]
        worst = min(having, key=lambda row: row["ratio"][name])
        found[name] = {
            "rows": len(having),
            "geometric_mean": math.exp(
                sum(math.log(row["ratio"][name]) for row in having) / len(having)
            ),
            "least": worst["ratio"][name],
            "least_at": _labels(worst),
        }
    return found


def drift(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    """Return by how much of itself the floor moved during a run, at worst."""
    return max(abs(after[name] / before[name] - 1) for name in before)


def markdown(document: Mapping[str, Any]) -> str:
    """Return a document as Markdown: facts, floor, one line a row, one line a peer."""
    rows, unit = document["rows"], document["unit"]
    ours = next(iter(rows[0]["contenders"]))
    common = _in_every_row([_labels(row) for row in rows])
    keys = list(dict.fromkeys(key for row in rows for key in _labels(row) if key not in common))
    peers = list(document["summary"])
    head = [*keys, ours, "p10 to p90", unit, *(f"{name} x" for name in peers), "dense baseline"]
    lines = [f"# {document['title']}", "", *_facts(document)]
    if common:
        lines.append("- in every row: " + _listed(common))
    lines += ["", _line(head), _line(["---"] * len(head))]
    for entry in rows:
        own, dense = entry["contenders"][ours], entry["dense_baseline"]
        lines.append(
            _line(
                [
                    *(_number(entry.get(key)) for key in keys),
                    _seconds(own["median"]),
                    f"{_seconds(own['p10'])} to {_seconds(own['p90'])}",
                    f"{own[unit]:.1f}",
                    *(_ratio(entry["ratio"].get(name)) for name in peers),
                    f"{dense}, {_seconds(entry['contenders'][dense]['median'])}",
                ]
            )
        )
    lines += ["", *(_about_peer(name, found) for name, found in document["summary"].items()), ""]
    return "\n".join(lines)


def _facts(document: Mapping[str, Any]) -> list[str]:
    machine, protocol, floor = document["machine"], document["protocol"], document["floor"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    edited = " with uncommitted changes" if machine["git_dirty"] else ""
    pinned = f"pinned to {machine['cores']} core(s)" if protocol["pinned"] else "not pinned"
    before = _listed({name: float(f"{value:.4g}") for name, value in floor["before"].items()})
    lines = [
        f"- {machine['cpu']}, {machine['target']}, {protocol['threads']} thread(s), {pinned}",
        f"- {versions}; {document['libraries']}; commit {machine['git_commit']}{edited}",
        f"- {document['unit']}: {document['formula']}",
        "- x: the other's median over sparsecore's; above 1 sparsecore is faster",
        f"- floor: {before}; moved by {100 * floor['drift']:.1f} % during the run",
    ]
    if not floor["quiet"]:
        lines.append("- **The machine was not quiet: differences as large as that are noise.**")
    return lines


def _labels(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value
        for key, value in entry.items()
        if key not in ("contenders", "ratio", "dense_baseline")
    }


def _in_every_row(labels: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if len(labels) == 1:
        return {}
    first, *others = labels
    return {key: v for key, v in first.items() if all(other.get(key) == v for other in others)}


def _about_peer(name: str, found: Mapping[str, Any]) -> str:
    mean, least = found["geometric_mean"], found["least"]
    where = _listed(found["least_at"])
    return f"- {name}: geometric mean {mean:.2f}x, least {least:.2f}x ({where})"


def _listed(labels: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {_number(value)}" for key, value in labels.items())


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _number(value: str | float | None) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _seconds(value: float) -> str:
    for scale, name in ((1.0, "s"), (1e-3, "ms")):
        if value >= scale:
            return f"{value / scale:.3g} {name}"
    return f"{value / 1e-6:.3g} us"
