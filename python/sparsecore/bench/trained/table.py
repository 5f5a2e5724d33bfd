"""The Markdown of a ``trained`` document."""

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["heading", "markdown"]


def heading(document: Mapping[str, Any], of_images: str = "") -> list[str]:
    """Return the title and what was measured on, which `of_images` says more of."""
    machine, floor = document["machine"], document["floor"]
    quiet = "" if floor["quiet"] else ": the machine was busy"
    return [
        f"# {document['title']}",
        "",
        f"- images: {document['images']}{of_images}",
        f"- processor: {machine['cpu']}; threads: {document['protocol']['threads']}",
        f"- the floor moved by {floor['drift']:.0%}{quiet}",
    ]


def markdown(document: Mapping[str, Any]) -> str:
    """Return the tables and what was measured on."""
    lines = [
        *heading(document),
        "",
        "| network | zeros | accuracy: dense | pruned | converted | predictions that differ "
        "| largest logit difference | multiplications kept | file, dense -> CSR (bytes) |",
        "|---|---|---|---|---|---|---|---|---|",
        *map(_quality, document["rows"]),
        "",
        "| network | batch | torch eager | folded, channels_last | sparsecore "
        "| times as fast as the better | layers sparse | memory, dense -> sparse (bytes) |",
        "|---|---|---|---|---|---|---|---|",
        *(line for row in document["rows"] for line in _times(row)),
        "",
        *map(_layers, document["rows"]),
    ]
    return "\n".join(lines) + "\n"


def _quality(row: Mapping[str, Any]) -> str:
    converted, size = row["batches"], row["file_bytes"]
    cells = [
        row["name"],
        f"{row['sparsity']:.1%}",
        f"{row['accuracy']['dense']:.1%}",
        f"{row['accuracy']['masked dense']:.1%}",
        ", ".join(sorted({f"{found['accuracy']:.1%}" for found in converted})),
        str(sum(found["differing_predictions"] for found in converted)),
        f"{max(found['largest_logit_difference'] for found in converted):.1e}",
        f"{row['macs']['kept'] / row['macs']['dense']:.1%}",
        f"{size['dense']} -> {size['sparse']}",
    ]
    return f"| {' | '.join(cells)} |"


def _times(row: Mapping[str, Any]) -> Iterator[str]:
    for found in row["batches"]:
        times = {name: time["median"] for name, time in found["seconds"].items()}
        ours = times.pop("sparsecore")
        choices = list(found["choices"].values())
        size = found["memory_bytes"]
        cells = [
            row["name"],
            str(found["batch"]),
            *(f"{seconds * 1e3:.3g} ms" for seconds in (*times.values(), ours)),
            f"{min(times.values()) / ours:.2f}",
            f"{len(choices) - choices.count('dense')} of {len(choices)}",
            f"{size['dense']} -> {size['sparse']}",
        ]
        yield f"| {' | '.join(cells)} |"


def _layers(row: Mapping[str, Any]) -> str:
    zeros = ", ".join(f"{name} {part:.1%}" for name, part in row["layer_sparsity"].items())
    return f"- zeros of {row['name']}: {zeros}"
