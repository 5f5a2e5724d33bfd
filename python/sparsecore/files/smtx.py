"""smtx, the text form of the DLMC collection of pruned networks: a pattern without values.

Three lines: ``rows, cols, nnz``, then the row offsets, then the columns (Gale et al., "Sparse GPU
Kernels for Deep Learning", 2020; https://github.com/google-research/google-research, sgk).
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sparsecore.files.parts import Parts
from sparsecore.interop import Array, Int64

_FOREIGN = re.compile(rb"[^0-9 \t\r]")


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of the file and the position of its first byte."""

    content: bytes
    begin: int


def read(path: Path) -> Parts:
    """Read a pattern; every value is 1 in float32.

    Raises
    ------
    ValueError
        Where the file is not one; names the line, and the byte where that is known.
    """
    content = path.read_bytes()
    lines = _split(content)
    rows, cols, nnz = _read_sizes(lines[0])
    indptr = _read_numbers(lines[1], "the row offsets in line 2", rows + 1)
    indices = _read_numbers(lines[2], "the columns in line 3", nnz)
    ones = np.ones(nnz, dtype=np.float32)
    arrays: dict[str, Array] = {"data": ones, "indices": indices, "indptr": indptr}
    return Parts("csr", (rows, cols), arrays, _place)


def _place(name: str, position: int) -> str:
    return f"number {position} of line {3 if name == 'indices' else 2}"


def _split(content: bytes) -> list[_Line]:
    """Return the three lines; the third may be missing where there are no columns."""
    lines, begin = [], 0
    for line in content.split(b"\n", 3):
        lines.append(_Line(line, begin))
        begin += len(line) + 1
    if len(lines) == 4:
        extra = lines.pop()
        if extra.content.strip():
            msg = f"a fourth line at byte {extra.begin}, expected three"
            raise ValueError(msg)
    if len(lines) < 2:
        msg = f"the file is truncated: {len(lines)} lines in {len(content)} bytes, expected three"
        raise ValueError(msg)
    return lines if len(lines) == 3 else [*lines, _Line(b"", len(content))]


def _read_sizes(line: _Line) -> tuple[int, int, int]:
    fields = [field.strip() for field in line.content.split(b",")]
    if len(fields) != 3 or not all(field.isdigit() and len(field) < 19 for field in fields):
        msg = f"line 1 is {line.content[:60]!r}, expected 'rows, cols, nnz'"
        raise ValueError(msg)
    return int(fields[0]), int(fields[1]), int(fields[2])


def _read_numbers(line: _Line, what: str, expected: int) -> Int64:
    foreign = _FOREIGN.search(line.content)
    if foreign:
        position = line.begin + foreign.start()
        msg = f"{what} hold {foreign.group()!r} at byte {position}, expected natural numbers"
        raise ValueError(msg)
    # Stripped, because of white space alone numpy makes a 0.
    numbers = np.fromstring(line.content.strip(), dtype=np.int64, sep=" ")
    if len(numbers) != expected:
        msg = f"{what} are {len(numbers)}, expected {expected} by line 1"
        raise ValueError(msg)
    return numbers
