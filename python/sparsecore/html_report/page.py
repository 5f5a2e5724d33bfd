"""What a page says, before it is HTML: facts, tables, figures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

from sparsecore.html_report.elements import Element

__all__ = [
    "ABSENT",
    "Cell",
    "Column",
    "Fact",
    "Figure",
    "Page",
    "Part",
    "Section",
    "Table",
    "Tone",
    "tabulated",
]

Tone: TypeAlias = Literal["", "good", "bad"]
Row = TypeVar("Row")

ABSENT = "-"
"""What stands in a cell that has nothing."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One figure of the summary.

    Attributes
    ----------
    label, value : str
    note : str
        What the value means, or is compared with.
    tone : {"", "good", "bad"}
    """

    label: str
    value: str
    note: str = ""
    tone: Tone = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes
    ----------
    title : str
    kind : {"text", "number", "sentence", "badge"}
        Numbers are set to the right and sorted by value; sentences are wide; badges stand out.
    """

    title: str
    kind: Literal["text", "number", "sentence", "badge"] = "text"


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in a column.

    Attributes
    ----------
    text : str
    number : float or None
        What it is sorted by in a column of numbers; None goes to the end.
    part : float or None
        In [0, 1]: drawn as a bar.
    tone : {"", "good", "bad"}
    """

    text: str
    number: float | None = None
    part: float | None = None
    tone: Tone = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table that can be sorted; the first cell of a row is its name.

    Attributes
    ----------
    caption : str
    columns : tuple of Column
    rows : tuple of tuple of Cell
        Each as long as `columns`.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def __post_init__(self) -> None:
        """Raise ValueError where a row has another length than the columns."""
        for row in self.rows:
            if len(row) != len(self.columns):
                msg = f"Table: a row has {len(row)} cells, expected {len(self.columns)}"
                raise ValueError(msg)


def tabulated(
    caption: str, columns: Sequence[tuple[Column, Callable[[Row], Cell]]], rows: Sequence[Row]
) -> Table:
    """Return a table of what each column says of each row; columns that are `ABSENT` are left out.

    Examples
    --------
    >>> columns = [(Column("n"), lambda n: Cell(str(n))), (Column("m"), lambda _: Cell(ABSENT))]
    >>> tabulated("Numbers", columns, [1, 2]).columns
    (Column(title='n', kind='text'),)
    """
    cells = [(column, [words(row) for row in rows]) for column, words in columns]
    said = [(column, found) for column, found in cells if any(c.text != ABSENT for c in found)]
    by_row = tuple(zip(*(found for _, found in said), strict=True))
    return Table(caption, tuple(column for column, _ in said), by_row)


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing and what it is.

    Attributes
    ----------
    title : str
    drawing : xml.etree.ElementTree.Element
        An ``svg`` or ``img`` that says in words what it shows.
    notes : tuple of str
    """

    title: str
    drawing: Element
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with what belongs to it.

    Attributes
    ----------
    title : str
    text : tuple of str
        Paragraphs.
    table : Table or None
    figures : tuple of Figure
    """

    title: str
    text: tuple[str, ...] = ()
    table: Table | None = None
    figures: tuple[Figure, ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """What one source adds to a page.

    Attributes
    ----------
    facts : tuple of Fact
    sections : tuple of Section
    """

    facts: tuple[Fact, ...] = ()
    sections: tuple[Section, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """A whole page.

    Attributes
    ----------
    title : str
    facts : tuple of Fact
    sections : tuple of Section
    """

    title: str
    facts: tuple[Fact, ...]
    sections: tuple[Section, ...]

    @classmethod
    def of(cls, title: str, *parts: Part) -> "Page":
        """Return the page of several parts, in this order."""
        facts = tuple(fact for part in parts for fact in part.facts)
        return cls(title, facts, tuple(section for part in parts for section in part.sections))
