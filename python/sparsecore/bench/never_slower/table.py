"""A ``never-slower`` run as Markdown: facts, the matrix, the sum of it, every cell below 1."""

from collections.abc import Iterator, Mapping
from typing import Any

from sparsecore.bench.report import Row
from sparsecore.bench.table import line, seconds

__all__ = ["markdown"]


def markdown(document: Mapping[str, Any]) -> str:
    """Return a document as Markdown."""
    parts = [
        [f"# {document['title']}"],
        list(_facts(document)),
        list(_matrix(document["rows"])),
        [_sum(document["summary"])],
        list(_below_one(document["rows"])),
        list(_reasons(document["rows"])),
    ]
    return "\n\n".join("\n".join(lines) for lines in parts if lines) + "\n"


def _facts(document: Mapping[str, Any]) -> Iterator[str]:
    machine, protocol, floor = document["machine"], document["protocol"], document["floor"]
    rule = document["rule"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    edited = " with uncommitted changes" if machine["git_dirty"] else ""
    pinned = f"pinned to {machine['cores']} core(s)" if protocol["pinned"] else "not pinned"
    before = ", ".join(f"{name} {value:.4g}" for name, value in floor["before"].items())
    yield f"- {machine['cpu']}, {machine['target']}, {protocol['threads']} thread(s), {pinned}"
    yield f"- {versions}; commit {machine['git_commit']}{edited}"
    yield f"- x: {document['formula']}; in brackets: layers that run sparse, of all"
    yield (
        f"- slower: x is below {rule['slower_below']:g} and by more than "
        f"{rule['below_same_twice_by']:g} below what two dense copies differ by, in two "
        "of at most three measurements; noisy: in all of them the copies differ by more than "
        f"{100 * rule['noisy_above']:g} %"
    )
    yield f"- floor: {before}; moved by {100 * floor['drift']:.1f} % during the run"
    if not floor["quiet"]:
        yield "- **The machine was not quiet: differences as large as that are noise.**"
    for name, why in document["absent"].items():
        yield f"- absent: {name} ({', '.join(why)})"


def _matrix(rows: list[Row]) -> Iterator[str]:
    sparsities = list(dict.fromkeys(row["sparsity"] for row in rows))
    yield line(["model", "batch", "dense", *(f"{sparsity:g} %" for sparsity in sparsities)])
    yield line(["---"] * (len(sparsities) + 3))
    cells = {(row["model"], row["batch"], row["sparsity"]): row for row in rows}
    for model, batch in dict.fromkeys((row["model"], row["batch"]) for row in rows):
        found = [cells[model, batch, sparsity] for sparsity in sparsities]
        dense = seconds(found[0]["seconds"]["dense"]["median"])
        yield line([model, str(batch), dense, *map(_cell, found)])


def _cell(row: Row) -> str:
    layers = sum(row["choices"].values())
    text = f"{row['ratio']:.2f} ({layers - row['choices'].get('dense', 0)}/{layers})"
    return f"**{text} slower**" if row["slower"] else f"{text} noisy" if row["noisy"] else text


def _sum(found: Mapping[str, Any]) -> str:
    where = found["worst_at"]
    return (
        f"{found['slower']} of {found['cells']} slower; {found['noisy']} noisy; "
        f"{found['below_one']} below 1; geometric mean {found['geometric_mean']:.2f}x, "
        f"worst {found['worst']:.3f}x ({where['model']}, "
        f"{where['sparsity']:g} %, batch {where['batch']}); two dense copies differ by up to "
        f"{100 * found['most_noise']:.1f} %"
    )


def _below_one(rows: list[Row]) -> Iterator[str]:
    listed = (row for row in rows if row["ratio"] < 1 or row["noisy"])
    below = sorted(listed, key=lambda row: row["ratio"])
    if not below:
        return
    yield line(
        [
            "below 1 or noisy",
            "sparsity",
            "batch",
            "x",
            "dense twice",
            "all x",
            "sparsify_'s x",
            "fused",
        ]
    )
    yield line(["---"] * 8)
    for row in below:
        own = row["own_ratio"]
        yield line(
            [
                *(row["model"], f"{row['sparsity']:g} %", str(row["batch"])),
                *(f"{row['ratio']:.3f}", f"{row['same']:.3f}"),
                ", ".join(f"{found['ratio']:.3f}" for found in row["measurements"]),
                "" if own is None else f"{own:.3f}",
                row["fused"] or "nothing",
            ]
        )


def _reasons(rows: list[Row]) -> Iterator[str]:
    """Say how many layers stay dense, all with a reason, and what has no sparse form at all."""
    dense = sum(len(row["stay_dense"]) for row in rows)
    yield f"- {dense} times a layer stays dense; the JSON has the reason for each"
    others = {(row["model"], kind) for row in rows for kind in row["other_kinds"].values()}
    for model, kind in sorted(others):
        yield f"- no sparse form: {kind} in {model}"
