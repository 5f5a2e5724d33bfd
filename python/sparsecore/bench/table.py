"""A run as Markdown: facts, one line a row, and what the rows amount to."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sparsecore.bench.report import Row, labels

__all__ = [
    "about_contenders",
    "about_every_row",
    "in_every_row",
    "joined",
    "line",
    "markdown",
    "results",
    "seconds",
]

_PACKING = {
    "none": "no packing",
    "beforehand": "packed beforehand, not included",
    "included": "packing included in every call",
}


def markdown(document: Mapping[str, Any]) -> str:
    """Return a document as Markdown."""
    common = in_every_row(document)
    parts = [
        [f"# {document['title']}"],
        [*_facts(document, common), *about_contenders(document)],
        *results(document),
    ]
    return joined(parts)


def joined(parts: Sequence[Sequence[str]]) -> str:
    """Return groups of lines as text, an empty line between them."""
    return "\n\n".join("\n".join(lines) for lines in parts if lines) + "\n"


def results(document: Mapping[str, Any]) -> list[list[str]]:
    """Return the tables of a comparison, each as its lines."""
    common = in_every_row(document)
    return [
        list(_rows(document, common)),
        [_about(name, found, common) for name, found in document["summary"].items()],
        list(_best(document, common)),
        list(_break_even(document["break_even"])),
    ]


def about_contenders(document: Mapping[str, Any]) -> list[str]:
    """Say who has packed when, and who is absent."""
    return [*_contenders(document), *_absent(document)]


def _facts(document: Mapping[str, Any], common: Row) -> list[str]:
    machine, protocol, floor = document["machine"], document["protocol"], document["floor"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    edited = " with uncommitted changes" if machine["git_dirty"] else ""
    pinned = f"pinned to {machine['cores']} core(s)" if protocol["pinned"] else "not pinned"
    held = protocol["every_library_held_to"]
    before = _listed({name: float(f"{value:.4g}") for name, value in floor["before"].items()})
    lines = [
        f"- {machine['cpu']}, {machine['target']}, {protocol['threads']} thread(s), {pinned}"
        + (f", every library held to {held}" if held else ""),
        f"- {versions}; {document['libraries']}; commit {machine['git_commit']}{edited}",
        f"- {document['unit']}: {document['formula']}",
        "- x: the other's median over sparsecore's; above 1 sparsecore is faster",
        f"- floor: {before}; moved by {100 * floor['drift']:.1f} % during the run",
    ]
    if not floor["quiet"]:
        lines.append("- **The machine was not quiet: differences as large as that are noise.**")
    return [*lines, *about_every_row(common)]


def about_every_row(common: Row) -> list[str]:
    """Say what all rows share."""
    return ["- in every row: " + _listed(common)] if common else []


def _contenders(document: Mapping[str, Any]) -> list[str]:
    found: dict[str, list[str]] = {}
    for row in document["rows"]:
        for name, measured in row["contenders"].items():
            names = found.setdefault(measured["packing"], [])
            if name not in names:
                names.append(name)
    return [f"- {_PACKING[packing]}: {'; '.join(names)}" for packing, names in found.items()]


def _absent(document: Mapping[str, Any]) -> list[str]:
    return [f"- absent: {name} ({', '.join(why)})" for name, why in document["absent"].items()]


def _rows(document: Mapping[str, Any], common: Row) -> Iterator[str]:
    rows, unit = document["rows"], document["unit"]
    ours = next(iter(rows[0]["contenders"]))
    keys = list(dict.fromkeys(key for row in rows for key in labels(row) if key not in common))
    others = list(document["summary"])
    yield line(
        [
            *keys,
            ours,
            "p10 to p90",
            unit,
            *(f"{name} x" for name in others),
            f"{document['baseline']} baseline",
        ]
    )
    yield line(["---"] * (len(keys) + len(others) + 4))
    for row in rows:
        own, dense = row["contenders"][ours], row["dense_baseline"]
        yield line(
            [
                *(_number(row.get(key)) for key in keys),
                seconds(own["median"]),
                f"{seconds(own['p10'])} to {seconds(own['p90'])}",
                f"{own[unit]:.1f}",
                *(_ratio(row["ratio"].get(name)) for name in others),
                f"{dense}, {seconds(row['contenders'][dense]['median'])}",
            ]
        )


def _about(name: str, found: Mapping[str, Any], common: Row) -> str:
    mean, least = found["geometric_mean"], found["least"]
    where = _listed(_without(found["least_at"], common))
    return f"- {name}: geometric mean {mean:.2f}x, least {least:.2f}x ({where})"


def _best(document: Mapping[str, Any], common: Row) -> Iterator[str]:
    """Say how each of ours stands against the fastest peer and baseline of each row."""
    entries = [(_who(entry, document["baseline"]), entry) for entry in document["best"]]
    heads = [_heading(part) for _, entry in entries for part in entry["parts"]]
    heads = list(dict.fromkeys(heads))
    yield "Against the fastest one of each row: geometric mean of the ratios (the least)"
    yield ""
    yield line(["", "all", *heads])
    yield line(["---"] * (len(heads) + 2))
    for who, entry in entries:
        parts = {_heading(part): _spread(part) for part in entry["parts"]}
        yield line([who, _spread(entry), *(parts.get(head, "") for head in heads)])
    yield ""
    for who, entry in entries:
        where = _listed(_without(entry["least_at"], common))
        yield f"- {who}: least {entry['least']:.2f}x ({where})"


def _who(entry: Mapping[str, Any], baseline: str) -> str:
    kinds = [str(entry[key]) for key in ("dtype", "gradient", "build") if key in entry]
    against = baseline if entry["against"] == "baseline" else "peer"
    return ", ".join([*kinds, f"{entry['contender']} against {against}"])


def _heading(part: Mapping[str, Any]) -> str:
    return f"{part['sparsity']:g} %" if "sparsity" in part else f"N {part.get('N')}"


def _break_even(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not found:
        return
    kept = ("contender", "sparsity", "at_most")
    groups = [_listed({k: v for k, v in entry.items() if k not in kept}) for entry in found]
    columns = list(dict.fromkeys(groups))
    cells = {
        (entry["contender"], group): _percent(entry)
        for entry, group in zip(found, groups, strict=True)
    }
    yield "Faster than the best dense one from this sparsity on, in percent"
    yield ""
    yield line(["", *columns])
    yield line(["---"] * (len(columns) + 1))
    for name in dict.fromkeys(entry["contender"] for entry in found):
        yield line([name, *(cells.get((name, column), "") for column in columns)])


def _percent(entry: Mapping[str, Any]) -> str:
    if entry["sparsity"] is None:
        return "never"
    return f"{'<= ' if entry['at_most'] else ''}{entry['sparsity']:.0f}"


def _spread(found: Mapping[str, Any]) -> str:
    return f"{found['geometric_mean']:.2f} ({found['least']:.2f})"


def in_every_row(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the labels that all rows of a comparison share."""
    found = [labels(row) for row in document["rows"]]
    if len(found) == 1:
        return {}
    first, *others = found
    return {key: v for key, v in first.items() if all(other.get(key) == v for other in others)}


def _without(found: Row, common: Row) -> Row:
    return {key: value for key, value in found.items() if key not in common}


def _listed(found: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {_number(value)}" for key, value in found.items())


def line(cells: Sequence[str]) -> str:
    """Return a line of a table."""
    return "| " + " | ".join(cells) + " |"


def _number(value: str | float | None) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def seconds(value: float) -> str:
    """Return a time with three digits and its unit."""
    for scale, name in ((1.0, "s"), (1e-3, "ms")):
        if value >= scale:
            return f"{value / scale:.3g} {name}"
    return f"{value / 1e-6:.3g} us"
