"""Tables of plain text, for terminals, pipes and logs alike."""

from collections.abc import Sequence

from sparsecore.text_table import table_lines

__all__ = ["aligned", "shape_text"]


def aligned(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, its columns as wide as what is in them.

    Examples
    --------
    >>> for line in aligned(["name", "bytes"], [["fc.weight", "96"]]):
    ...     print(line)
    name       bytes
    ----------------
    fc.weight  96
    """
    return table_lines([titles, *rows])


def shape_text(shape: Sequence[int]) -> str:
    """Return a shape as it is read: ``64 x 3 x 7 x 7``.

    Examples
    --------
    >>> shape_text((2, 3))
    '2 x 3'
    """
    return " x ".join(map(str, shape))
