"""Tables of plain text, for terminals, pipes and logs alike."""

from collections.abc import Sequence

__all__ = ["printable", "shape_text", "table_lines"]


def table_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table: the first row is its head, with a rule below it.

    Every cell is made `printable`.

    Examples
    --------
    >>> table_lines([["layer", "bytes"], ["fc", "12,345"]])
    ['layer  bytes', '-------------', 'fc     12,345']
    """
    shown = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in shown
    ]
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]


def shape_text(shape: Sequence[int]) -> str:
    """Return a shape as it is read: ``64 x 3 x 7 x 7``.

    Examples
    --------
    >>> shape_text((2, 3))
    '2 x 3'
    """
    return " x ".join(map(str, shape))


def printable(text: str) -> str:
    r"""Return a text of a file's with what could steer a terminal written out.

    Examples
    --------
    >>> printable("fc\x1b[2J.weight")
    'fc\\x1b[2J.weight'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
