"""How far a run has come: one small file, exchanged as a whole after each block."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sparsecore.files.complete import complete_or_absent
from sparsecore.pruning.blockwise.request import PrunedLayer

__all__ = ["Journal", "check_same", "read_journal", "write_journal"]

_FORMAT = "sparsecore prune_blocks 1"


@dataclass(frozen=True, slots=True)
class Journal:
    """What was asked for, and what is done.

    Attributes
    ----------
    settings : mapping
        Of plain JSON values.
    calibration : str or None
        The digest of the first block's inputs.
    blocks : sequence of sequence of PrunedLayer
        Of the blocks that are written.
    """

    settings: Mapping[str, Any]
    calibration: str | None
    blocks: Sequence[Sequence[PrunedLayer]] = ()


def write_journal(path: Path, journal: Journal) -> None:
    """Put a journal in the place of the one that is there."""
    content = {"format": _FORMAT, **asdict(journal)}
    with complete_or_absent(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_journal(path: Path) -> Journal | None:
    """Return the journal, or None where there is none.

    Raises
    ------
    ValueError
        The file is something else.
    """
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") != _FORMAT:
            msg = f"its format is not {_FORMAT!r}"
            raise ValueError(msg)
        blocks = [[PrunedLayer.from_json(x) for x in layers] for layers in content.pop("blocks")]
        return Journal(dict(content["settings"]), content["calibration"], blocks)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as fault:
        msg = f"{path}: not a journal of prune_blocks: {fault!r:.200}"
        raise ValueError(msg) from fault


def check_same(path: Path, journal: Journal, other: Journal) -> None:
    """Raise ValueError where a run cannot go on with the work of the one that kept `journal`."""
    settings = json.loads(json.dumps(dict(other.settings)))
    for name in {**journal.settings, **settings}:
        before, now = journal.settings.get(name), settings.get(name)
        if before != now:
            msg = (
                f"{path}: begun with {name}={before!r:.200}, now it is {now!r:.200}; expected the "
                "same, or another target"
            )
            raise ValueError(msg)
    both = journal.calibration, other.calibration
    if None not in both and both[0] != both[1]:
        msg = (
            f"{path}: begun with other calibration batches: what reaches the first block differs; "
            "expected the same, or another target"
        )
        raise ValueError(msg)
