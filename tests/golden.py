"""Golden values with public sources, kept outside the repository; tests skip where they are absent.

They lie at ``golden/`` beside the folder that the environment variable ``SPARSECORE_DATA`` names
(default ``../shared/data`` relative to the repository root).
"""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).resolve().parent.parent
_DATA = Path(os.environ.get("SPARSECORE_DATA", _ROOT.parent / "shared" / "data"))


@functools.cache
def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def golden_file(name: str) -> Any:
    """Return the parsed JSON file, or skip the calling test."""
    path = _DATA.parent / "golden" / name
    if not path.is_file():
        pytest.skip(f"golden values not found: {path} (set SPARSECORE_DATA)")
    return _read(path)


def golden(entry_id: str) -> dict[str, Any]:
    """Return the entry of golden_values.json with this id, or skip the calling test."""
    entries = {entry["id"]: entry for entry in golden_file("golden_values.json")}
    return entries[entry_id]
