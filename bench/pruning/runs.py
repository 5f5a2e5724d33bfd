"""What the scripts share: their command line, results that outlive a stopped run, tables."""

import argparse
import json
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch

import sparsecore as sc
from sparsecore.bench.run import checkout
from sparsecore.timing import machine_facts

Cell: TypeAlias = Mapping[str, Any]


def arguments(title: str, *, seeds: int = 5) -> argparse.Namespace:
    """Read --quick, --seeds and --output."""
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--quick", action="store_true", help="digits and few steps, to try it")
    parser.add_argument("--seeds", type=int, default=seeds, help="runs of each cell")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="JSON; table and plot beside it"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    sc.set_num_threads(1)
    return options


def collect(
    output: Path | None,
    about: Mapping[str, Any],
    cells: Iterable[Cell],
    run: Callable[[Cell], Mapping[str, Any]],
    *,
    then: Callable[[Mapping[str, Any]], Iterable[Cell]] = lambda _: (),
) -> dict[str, Any]:
    """Run each cell that the output does not have yet, and write the output after each.

    Every run is reported, in the order of the cells; none is left out or chosen. `then` is given
    what they found, and returns the cells that are run after them.

    Raises
    ------
    ValueError
        The output is of another configuration.
    """
    # As JSON has it, so that what was read compares equal to what is given.
    about = json.loads(json.dumps(about))
    known = json.loads(output.read_text("utf-8")) if output is not None and output.exists() else {}
    if known and {name: known.get(name) for name in about} != about:
        msg = f"{output} holds runs of another configuration: move it away, or name another file"
        raise ValueError(msg)
    found = {_key(entry["cell"]): entry for entry in known.get("runs", [])}
    document: dict[str, Any] = {**about, "machine": machine_facts(checkout()), "runs": []}

    def in_turn() -> Iterator[Cell]:
        yield from cells
        yield from then(document)

    for cell in in_turn():
        key = _key(cell)
        if key not in found:
            commit = document["machine"]["git_commit"]
            found[key] = {"cell": dict(cell), "result": dict(run(cell)), "commit": commit}
            print(json.dumps(found[key]), flush=True)
        document["runs"].append(found[key])
        _write(output, document)
    _write(output, document)
    return document


def summary(document: Mapping[str, Any], figure: str) -> dict[tuple[Any, ...], list[float]]:
    """Return a figure of all seeds for each cell but for its seed, in the order of the runs."""
    groups: dict[tuple[Any, ...], list[float]] = {}
    for entry in document["runs"]:
        labels = tuple(value for name, value in entry["cell"].items() if name != "seed")
        groups.setdefault(labels, []).append(entry["result"][figure])
    return groups


def spread(values: Sequence[float]) -> str:
    """Return mean and standard deviation as text."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.2f} ± {deviation:.2f}"


def error_table(document: Mapping[str, Any]) -> str:
    """Return a row for each cell but for its seed: the labels, mean and deviation, all runs."""
    labels = [name for name in document["runs"][0]["cell"] if name != "seed"]
    lines = [
        f"| {' | '.join(labels)} | test error, % | each seed |",
        "|---" * (len(labels) + 2) + "|",
    ]
    for values, errors in summary(document, "error").items():
        each = ", ".join(f"{error:.2f}" for error in errors)
        lines.append(f"| {' | '.join(map(str, values))} | {spread(errors)} | {each} |")
    return "\n".join(lines)


def draw_errors(axes: Any, document: Mapping[str, Any]) -> None:
    """Draw each run's error, and the means, a place for each cell but for its seed."""
    groups = summary(document, "error")
    for place, errors in enumerate(groups.values()):
        axes.plot([place] * len(errors), errors, "o", color="C0", alpha=0.5)
        axes.plot([place - 0.3, place + 0.3], [statistics.mean(errors)] * 2, "k-")
    names = [" ".join(map(str, labels)) for labels in groups]
    axes.set_xticks(range(len(names)), names, fontsize="small", rotation=60, ha="right")
    axes.set_ylabel("test error, %")
    drawn = [error for errors in groups.values() for error in errors]
    if max(drawn) > 10 * min(drawn):  # some learn nothing: the others would lie on one line
        axes.set_yscale("log")


def finish(
    output: Path | None, document: Mapping[str, Any], table: str, draw: Callable[[Any], None]
) -> None:
    """Print the table; write it, and the plot that `draw` puts on an axes, beside the output."""
    machine = document["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    text = (
        f"# {document['title']}\n\n{document['images']}. {machine['cpu']}; {versions}; "
        f"commit {machine['git_commit']}.\n\n{table}\n"
    )
    print(text)
    if output is None:
        return
    from matplotlib.figure import Figure

    output.with_suffix(".md").write_text(text, "utf-8")
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    draw(axes)
    axes.set_title(document["title"], wrap=True, fontsize="medium")
    figure.savefig(output.with_suffix(".png"), dpi=100)


def _key(cell: Cell) -> str:
    return json.dumps(cell, sort_keys=True)


def _write(output: Path | None, document: Mapping[str, Any]) -> None:
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        partial = output.with_suffix(".partial")
        partial.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
        partial.replace(output)
