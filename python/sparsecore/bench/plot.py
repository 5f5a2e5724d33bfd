"""Draw a product comparison: rates, ratios to the best other one, break-even against dense."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sparsecore.bench.e2e.plot import draw_networks
from sparsecore.bench.report import Row, mean_by_sparsity, series

__all__ = ["draw", "draw_file"]

# The three of ours, as far as a comparison has them, and how a peer's line is drawn.
_OURS = ("sparsecore plan", "sparsecore")


def draw_file(document: Path, output: Path | None = None) -> None:
    """Read a JSON of a run, write a PNG: beside it, where no path is given.

    Raises
    ------
    ValueError
        Where the run has no series of sparsities.
    """
    found = json.loads(document.read_text(encoding="utf-8"))
    figure = draw_networks(found) if found["name"] == "e2e" else draw(found)
    figure.savefig(output or document.with_suffix(".png"), dpi=120)


def draw(document: Mapping[str, Any]) -> Any:
    """Return the figure.

    Left the rate against sparsity, one line for each width of X, with the best dense one dotted;
    in the middle the ratio to the fastest sparse peer of each row; right the sparsity from which
    on each contender beats the best dense one. Rows of one sparsity are drawn as their geometric
    mean.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    groups = series(document["rows"])
    if len({row["sparsity"] for rows in groups.values() for row in rows}) < 2:
        msg = f"{document['name']} has no series of sparsities to draw"
        raise ValueError(msg)
    figure = Figure(figsize=(15, 4.8), layout="constrained")
    rate, ratio, even = figure.subplots(1, 3)
    ours = next(name for name in _OURS if name in document["rows"][0]["contenders"])
    colours = mpl.colormaps["viridis"]
    for position, (name, rows) in enumerate(groups.items()):
        style = {"color": colours(position / len(groups))}
        _draw_rates(rate, rows, ours, document["unit"], {**style, "label": name})
        _line(ratio, [(r["sparsity"], _best_ratio(r, ours)) for r in rows], marker="o", **style)
    rate.set(title=f"{ours}, dotted: dense; {document['unit']}", xlabel="sparsity, %")
    rate.set_ylim(bottom=0)
    ratio.set(title=f"time of the fastest sparse peer / of {ours}", xlabel="sparsity, %")
    ratio.axhline(1, color="grey", linestyle="--")
    ratio.set_ylim(bottom=0)
    _draw_break_even(even, document["break_even"])
    rate.legend()
    machine, threads = document["machine"], document["protocol"]["threads"]
    figure.suptitle(
        f"{document['title']}: {machine['cpu']}, {machine['target']}, threads: {threads}"
    )
    return figure


def _draw_rates(
    axes: Any, rows: Sequence[Row], ours: str, unit: str, style: Mapping[str, Any]
) -> None:
    _line(axes, [(r["sparsity"], r["contenders"][ours][unit]) for r in rows], marker="o", **style)
    dense = [(r["sparsity"], r["contenders"][r["dense_baseline"]][unit]) for r in rows]
    _line(axes, dense, linestyle=":", color=style["color"])


def _draw_break_even(axes: Any, found: Sequence[Mapping[str, Any]]) -> None:
    """Draw one line a contender and kind of row; where it never wins there is no point."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for entry in found:
        if entry["sparsity"] is not None:
            kinds = [str(entry[key]) for key in ("dtype", "gradient") if key in entry]
            name = ", ".join([entry["contender"], *kinds])
            lines.setdefault(name, []).append((entry["N"], entry["sparsity"]))
    for name, points in lines.items():
        width = 2.5 if name.startswith("sparsecore") else 1
        axes.plot(*zip(*sorted(points), strict=True), marker="o", linewidth=width, label=name)
    widths = sorted({n for points in lines.values() for n, _ in points})
    axes.set(title="faster than the best dense one from, %", xlabel="N", xscale="log")
    axes.set_xticks(widths, [str(n) for n in widths])
    axes.set_xticks([], minor=True)
    if lines:
        axes.legend()


def _best_ratio(row: Row, ours: str) -> float:
    found = row["best"].get(ours, {}).get("peer")
    return float("nan") if found is None else float(found["ratio"])


def _line(axes: Any, pairs: Sequence[tuple[float, float]], **style: Any) -> None:
    axes.plot(*zip(*mean_by_sparsity(pairs), strict=True), **style)
