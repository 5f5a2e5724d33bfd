"""Draw an ``e2e`` run: the speed-up over the best dense engine by sparsity."""

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["draw_networks"]

_TITLES = {
    "uniform": "uniform, star: 2:4",
    "erk": "Erdős-Rényi kernel",
    "global": "global magnitude",
}


def draw_networks(document: Mapping[str, Any]) -> Any:
    """Return the figure: a panel a pattern, a line a network and batch, dashed: break-even.

    Raises
    ------
    ValueError
        Where no pattern has been measured at two sparsities.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    rows = document["rows"]
    patterns = [name for name in _TITLES if len({r["sparsity"] for r in _of(rows, name)}) > 1]
    if not patterns:
        msg = "e2e has no series of sparsities to draw"
        raise ValueError(msg)
    lines = list(dict.fromkeys(_line(row) for row in rows))
    colours = {line: mpl.colormaps["tab20"](i % 20) for i, line in enumerate(lines)}
    figure = Figure(figsize=(6.5 * len(patterns) + 2, 5.5), layout="constrained")
    panels = figure.subplots(1, len(patterns), sharey=True, squeeze=False)[0]
    for axes, pattern in zip(panels, patterns, strict=True):
        _draw_panel(axes, _of(rows, pattern), colours)
        axes.set(title=_TITLES[pattern], xlabel="sparsity, %")
    _draw_stars(panels[0], _of(rows, "2:4"), colours)
    panels[0].set(ylabel="speed-up over the best dense fp32 engine", ylim=(0, None))
    panels[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    machine, threads = document["machine"], document["protocol"]["threads"]
    figure.suptitle(f"{machine['cpu']}, {machine['target']}, threads: {threads}")
    return figure


def _draw_panel(axes: Any, rows: Sequence[Mapping[str, Any]], colours: Mapping[str, Any]) -> None:
    for line, colour in colours.items():
        points = sorted((r["sparsity"], r["speedup"]) for r in rows if _line(r) == line)
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", color=colour, label=line)
    axes.axhline(1, color="grey", linestyle="--")


def _draw_stars(axes: Any, rows: Sequence[Mapping[str, Any]], colours: Mapping[str, Any]) -> None:
    for row in rows:
        axes.plot(row["sparsity"], row["speedup"], "*", markersize=12, color=colours[_line(row)])


def _of(rows: Sequence[Mapping[str, Any]], pattern: str) -> list[Mapping[str, Any]]:
    return [row for row in rows if row["pattern"] == pattern]


def _line(row: Mapping[str, Any]) -> str:
    stored = "" if row["values"] == "float32" else f", {row['values']}"
    return f"{row['model']}, batch {row['batch']}{stored}"
