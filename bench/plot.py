"""Draw a product comparison: ``python bench/plot.py FILE.json [--output FILE.png]``.

Left the rate against sparsity, with the best dense product dotted: where the lines cross, sparse
breaks even. Right the ratio to a peer (scipy). One line for each width of X.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

__all__ = ["draw", "main"]

NOT_A_LABEL = ("M", "K", "nnz", "sparsity", "contenders", "ratio", "dense_baseline")


def main(arguments: Sequence[str] | None = None) -> None:
    """Read a JSON of run.py, write a PNG."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("document", type=Path)
    parser.add_argument("--output", type=Path, help="PNG file; the default lies beside the JSON")
    parser.add_argument("--peer", default="scipy", help="whose name starts like this")
    options = parser.parse_args(arguments)
    document = json.loads(options.document.read_text(encoding="utf-8"))
    if len({row.get("sparsity") for row in document["rows"]}) < 2:
        parser.error(f"{options.document.name} has no series of sparsities to draw")
    output = options.output or options.document.with_suffix(".png")
    draw(document, options.peer).savefig(output, dpi=120)


def draw(document: Mapping[str, Any], peer: str) -> Figure:
    """Return the figure.

    Parameters
    ----------
    document : mapping
        As run.py writes it.
    peer : str
        The ratio drawn is to the first contender whose name starts like this.
    """
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    rate, ratio = figure.subplots(1, 2)
    groups = series(document["rows"])
    unit, ours = document["unit"], next(iter(document["rows"][0]["contenders"]))
    colours = mpl.colormaps["viridis"]
    for position, (name, rows) in enumerate(groups.items()):
        style = {"marker": "o", "label": name, "color": colours(position / max(len(groups), 1))}
        sparsity = [row["sparsity"] for row in rows]
        rate.plot(sparsity, [_rate(row, ours, unit) for row in rows], **style)
        dense = [_rate(row, row["dense_baseline"], unit) for row in rows]
        rate.plot(sparsity, dense, color=style["color"], linestyle=":")
        ratio.plot(sparsity, [_ratio(row, peer) for row in rows], **style)
    rate.set(title=f"{ours}, dotted: dense; {unit}", xlabel="sparsity, %", ylim=(0, None))
    ratio.set(title=f"time of {peer} / time of {ours}", xlabel="sparsity, %", yscale="log")
    ratio.axhline(1, color="grey", linestyle="--")
    figure.legend(*rate.get_legend_handles_labels(), loc="outside right upper")
    machine = document["machine"]
    figure.suptitle(f"{document['title']}: {machine['cpu']}, {machine['target']}")
    return figure


def series(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Group rows by every label but sparsity; shapes and counts are not labels here."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if "sparsity" in row:
            labels = (f"{key} {value}" for key, value in row.items() if key not in NOT_A_LABEL)
            groups.setdefault(", ".join(labels), []).append(row)
    return {name: sorted(group, key=lambda row: row["sparsity"]) for name, group in groups.items()}


def _rate(row: Mapping[str, Any], name: str, unit: str) -> float:
    return float(row["contenders"][name][unit])


def _ratio(row: Mapping[str, Any], peer: str) -> float:
    return next((v for name, v in row["ratio"].items() if name.startswith(peer)), float("nan"))


if __name__ == "__main__":
    main()
