"""The Markdown of an ``allocate`` document."""

from collections.abc import Mapping
from typing import Any

from sparsecore.bench.trained.table import heading

__all__ = ["markdown"]


def markdown(document: Mapping[str, Any]) -> str:
    """Return the table and what was measured on."""
    lines = [
        *heading(document, f"; {document['accuracy_dense']:.1%} right before pruning"),
        "- the budget is what the layers take together by the table, all as sparse as it says",
        "",
        "| batch | budget | allocation | zeros | right at once "
        f"| after fine-tuning, epochs: {document['epochs']} | layers by the table "
        "| network, measured | dense network | layers sparse |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *map(_row, document["rows"]),
    ]
    return "\n".join(lines) + "\n"


def _row(row: Mapping[str, Any]) -> str:
    budget = row["budget"]
    start = [
        str(row["batch"]),
        f"{_milliseconds(budget['seconds'])} (uniform {budget['uniform']:.0%})",
        row["name"],
    ]
    if row["kept"] is None:
        return f"| {' | '.join(start)} | no sparsity meets the budget |  |  |  |  |  |  |"
    choices = list(row["choices"].values())
    cells = [
        *start,
        f"{row['sparsity']:.1%}",
        f"{row['accuracy_at_once']:.1%}",
        f"{row['accuracy_tuned']:.1%}",
        _milliseconds(row["predicted_seconds"]),
        _milliseconds(row["seconds"]["median"]),
        _milliseconds(row["seconds_dense"]["median"]),
        f"{len(choices) - choices.count('dense')} of {len(choices)}",
    ]
    return f"| {' | '.join(cells)} |"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms"
