"""What can be asked of ``file``. No torch here: it is loaded once the process is pinned."""

import argparse
from pathlib import Path

from sparsecore.bench import words

__all__ = ["add_options", "defaults"]


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of this command alone."""
    add = command.add_argument
    add("weights", type=Path, metavar="FILE", help="safetensors, torch's, ONNX or npz")
    add("--batches", type=words.count, nargs="+", help="rows of X; by default 1 and 16")
    add("--layers", default="", metavar="REGEX", help="only weights whose name has this in it")


def defaults(*, quick: bool) -> dict[str, object]:
    """Return what is measured where nothing is said."""
    samples = (
        {"min_runs": 5, "min_seconds": 0.02} if quick else {"min_runs": 11, "min_seconds": 0.2}
    )
    return {"threads": 1, "batches": (1, 16), **samples}
