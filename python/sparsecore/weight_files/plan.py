"""What is about to be written: known before anything is, and printed where nothing shall be."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from sparsecore.weight_files.entry import Entry

__all__ = ["Outcome", "Plan", "bytes_text", "unchanged"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A weight, and what becomes of it.

    Attributes
    ----------
    name : str
    shape : tuple of int
        Of the dense weight.
    sparsity : float or None
        Fraction of it that is zero; None where it was not read.
    stored : str
        "dense", "csr", "2:4" or "bitmask".
    before, after : int
        Bytes in the file that it is from, and in the one that is written; of tied weights 0.
    why : str
        One phrase.
    """

    name: str
    shape: tuple[int, ...]
    sparsity: float | None
    stored: str
    before: int
    after: int
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Files that can be written.

    Attributes
    ----------
    outcomes : list of Outcome
        Of the weights about which there is something to say.
    write : callable
        Writes the files, which appear when they are complete, and returns what there is to say of
        their size.
    notes : tuple of str
        What the files will not have, or have otherwise.
    """

    outcomes: list[Outcome]
    write: Callable[[], str]
    notes: tuple[str, ...] = ()


def unchanged(entry: Entry, after: int, *, why: str = "") -> Outcome:
    """Return the outcome of a weight that is written dense, without a look at its numbers."""
    note = why or ("" if entry.stored == "dense" else f"was {entry.stored}")
    return Outcome(entry.name, entry.shape, None, "dense", entry.nbytes, after, note)


def bytes_text(files: Iterable[Path]) -> str:
    """Return the bytes of files that were written, for people."""
    return f"{sum(file.stat().st_size for file in files):,} bytes"
