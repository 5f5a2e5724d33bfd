"""What is asked of the results: rows, ratios, means, and how they are written."""

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, TypeAlias

from claims.documents import ROOT
from sparsecore.bench import report

__all__ = [
    "best",
    "dense_over",
    "fixed",
    "geometric_mean",
    "part",
    "percent",
    "ratio",
    "result",
    "row",
    "rows",
    "seeds",
    "significant",
    "spread",
    "to",
]

RESULTS = ROOT / "bench" / "results"

Row: TypeAlias = Mapping[str, Any]


@cache
def result(name: str) -> Mapping[str, Any]:
    """Return a result by the name of its file."""
    found: Mapping[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def rows(name: str, **labels: Any) -> list[Row]:
    """Return the rows of a result that have these labels, at least one."""
    found = [
        row
        for row in result(name)["rows"]
        if all(row.get(label) == value for label, value in labels.items())
    ]
    if not found:
        msg = f"{name} has no row with {labels}"
        raise LookupError(msg)
    return found


def row(name: str, **labels: Any) -> Row:
    """Return the only row of a result that has these labels."""
    (found,) = rows(name, **labels)
    return found


def ratio(row: Row, ours: str, others: Iterable[str]) -> float:
    """Return the fastest other's median over ours."""
    contenders = row["contenders"]
    times = [contenders[name]["median"] for name in others if name in contenders]
    quotient: float = min(times) / contenders[ours]["median"]
    return quotient


def dense_over(row: Row, ours: str) -> float:
    """Return the fastest dense product's median over ours."""
    baselines = [name for name, found in row["contenders"].items() if found["role"] == "baseline"]
    return ratio(row, ours, baselines)


def best(name: str, contender: str, against: str, **kind: Any) -> Row:
    """Return how one of ours stands against the fastest peer or baseline of each row."""
    labels = {"contender": contender, "against": against, **kind}
    (found,) = (
        entry
        for entry in report.against_best(result(name)["rows"])
        if all(entry.get(label) == value for label, value in labels.items())
    )
    return found


def part(entry: Row, **label: float) -> Row:
    """Return what of it is about one sparsity or one N."""
    (found,) = (
        part
        for part in entry["parts"]
        if all(part.get(name) == value for name, value in label.items())
    )
    return found


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean."""
    return math.exp(statistics.fmean(map(math.log, values)))


def seeds(name: str, figure: str, **cell: Any) -> list[float]:
    """Return a figure of a pruning result, of each seed that ran."""
    found = [
        run["result"][figure]
        for run in result(name)["runs"]
        if all(run["cell"].get(label) == value for label, value in cell.items())
    ]
    if not found:
        msg = f"{name} has no run with {cell}"
        raise LookupError(msg)
    return found


# ---- how numbers are written ----


def fixed(value: float, digits: int) -> str:
    """Return a number with so many decimals."""
    return f"{value:.{digits}f}"


def significant(value: float, digits: int = 2) -> str:
    """Return a number with so many digits that count."""
    return f"{value:#.{digits}g}".rstrip(".")


def percent(share: float, digits: int = 0) -> str:
    """Return a share as percent, without the sign."""
    return f"{100 * share:.{digits}f}"


def spread(values: Sequence[float]) -> str:
    """Return mean and standard deviation."""
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"


def to(values: Iterable[float], digits: int) -> tuple[str, str]:
    """Return the least and the largest."""
    found = list(values)
    return fixed(min(found), digits), fixed(max(found), digits)
