"""The words that options take: each function reads one, or says why it means nothing."""

import argparse
import math
from pathlib import Path

__all__ = ["count", "json_path", "percent", "seed", "shape"]


def shape(text: str) -> tuple[int, int]:
    """Read ROWSxCOLUMNS."""
    rows, _, columns = text.partition("x")
    if not (rows.isdecimal() and columns.isdecimal() and int(rows) and int(columns)):
        msg = f"{text!r} is no shape, expected ROWSxCOLUMNS"
        raise argparse.ArgumentTypeError(msg)
    return int(rows), int(columns)


def percent(text: str) -> float:
    """Read 0 to 100."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 <= found <= 100:
        msg = f"{text!r} is no sparsity, expected 0 to 100 percent"
        raise argparse.ArgumentTypeError(msg)
    return found


def count(text: str) -> int:
    """Read a whole number of at least 1."""
    if not (text.isdecimal() and int(text)):
        msg = f"{text!r} is no number of things, expected 1 or more"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def seed(text: str) -> int:
    """Read a whole number."""
    if not text.isdecimal():
        msg = f"{text!r} is no seed, expected 0 or more"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def json_path(text: str) -> Path:
    """Read a path that ends in .json."""
    if not text.endswith(".json"):
        msg = f"{text!r} does not end in .json"
        raise argparse.ArgumentTypeError(msg)
    return Path(text)
