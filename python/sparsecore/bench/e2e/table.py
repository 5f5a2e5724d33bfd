"""An ``e2e`` run as Markdown: facts, the dense engines, the sparse networks."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sparsecore.bench.report import Row
from sparsecore.bench.table import line, seconds

__all__ = ["markdown"]


def markdown(document: Mapping[str, Any]) -> str:
    """Return a document as Markdown."""
    parts = [
        [f"# {document['title']}"],
        [*_facts(document), *_absent(document)],
        list(_engines(document)),
        list(_networks(document["rows"])),
    ]
    return "\n\n".join("\n".join(lines) for lines in parts if lines) + "\n"


def _facts(document: Mapping[str, Any]) -> list[str]:
    machine, protocol, floor = document["machine"], document["protocol"], document["floor"]
    found = dict(machine["versions"])
    for engine in document["engines"].values():
        found |= engine["versions"]
    listed = ", ".join(f"{name} {version}" for name, version in found.items())
    edited = " with uncommitted changes" if machine["git_dirty"] else ""
    pinned = f"pinned to {machine['cores']} core(s)" if protocol["pinned"] else "not pinned"
    before = ", ".join(f"{name} {value:.4g}" for name, value in floor["before"].items())
    lines = [
        f"- {machine['cpu']}, {machine['target']}, {protocol['threads']} thread(s), {pinned}",
        f"- {listed}; commit {machine['git_commit']}{edited}",
        f"- x: {document['formula']}",
        f"- every fp32 output within {protocol['tolerance']:g} of the largest one of dense torch, "
        f"checked before timing; dense engines have the weights {protocol['dense_weights']}",
        *_stored(document["rows"]),
        f"- floor: {before}; moved by {100 * floor['drift']:.1f} % during the run",
    ]
    if not floor["quiet"]:
        lines.append("- **The machine was not quiet: differences as large as that are noise.**")
    return lines


def _stored(rows: Sequence[Row]) -> list[str]:
    """Say of rows with narrower values, where there are any, that they are not held to that."""
    found = {row["values"]: None for row in rows if row["values"] != "float32"}
    if not found:
        return []
    listed = " or ".join(found)
    return [f"- rows whose values are {listed} round by design: their error is in the last column"]


def _absent(document: Mapping[str, Any]) -> list[str]:
    return [f"- absent: {name} ({', '.join(why)})" for name, why in document["absent"].items()]


def _engines(document: Mapping[str, Any]) -> Iterator[str]:
    """One line a network and batch: the dense engines' times and, of int8, the errors."""
    names = list(document["engines"])
    yield line(["dense", "batch", "weights", "GMAC", *names])
    yield line(["---"] * (len(names) + 4))
    firsts = {(row["model"], row["batch"]): row for row in reversed(document["rows"])}
    for row in reversed(firsts.values()):
        best = (row["best_dense"], row["best_int8"])
        cells = [_engine(row["engines"].get(name), best=name in best) for name in names]
        gmac = f"{row['macs'] * 1e-9:.3g}"
        yield line([row["model"], str(row["batch"]), row["weights"], gmac, *cells])


def _engine(found: Row | None, *, best: bool) -> str:
    if found is None:
        return "-"
    text = f"**{seconds(found['median'])}**" if best else seconds(found["median"])
    return text if found["precision"] == "float32" else f"{text} (error {found['error']:.2g})"


def _networks(rows: Sequence[Row]) -> Iterator[str]:
    heads = (
        *("network", "batch", "pattern", "sparsity", "values", "sparsecore", "p10 to p90"),
        *("best dense", "x", "x over int8", "MACs kept", "at most", "prunable run sparse"),
        *("weights, MB", "error"),
    )
    yield line(heads)
    yield line(["---"] * len(heads))
    for row in rows:
        own, size = row["sparsecore"], row["weight_bytes"]
        over_int8 = row["speedup_over_int8"]
        yield line(
            [
                *(row["model"], str(row["batch"]), row["pattern"], f"{row['sparsity']:g} %"),
                *(row["values"], seconds(own["median"])),
                f"{seconds(own['p10'])} to {seconds(own['p90'])}",
                *(row["best_dense"], f"{row['speedup']:.2f}"),
                *("" if over_int8 is None else f"{over_int8:.2f}", f"{row['macs_kept']:.1%}"),
                *(f"{row['bound']:.1f}", f"{row['sparse_share']:.0%}"),
                f"{size['dense'] * 1e-6:.3g} -> {size['sparse'] * 1e-6:.3g}",
                f"{own['error']:.2g}",
            ]
        )
