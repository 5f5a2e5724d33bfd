"""A sentence or a table of a document, with the numbers that the results have for it."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from claims.documents import Document, Section

__all__ = ["Claim", "Found", "TableClaim"]

# What may stand in the place of a `{}`: a number, or a word such as "none".
_VALUE = r"(\w(?:[\w.,]*\w)?)"


@dataclass(frozen=True, slots=True)
class Found:
    """Where a claim stands, and how it differs from the results."""

    section: Section
    block: int
    span: tuple[int, int]
    differences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Claim:
    """Part of a paragraph or list item.

    Parameters
    ----------
    document : str
        Path below the repository's root.
    sources : sequence of str
        Names of the results that the numbers come from.
    text : str
        The text in one line, links without their targets, ``{}`` for each number that was measured.
        What else it holds are settings.
    numbers : callable
        Returns what has to stand in these places.
    """

    document: str
    sources: Sequence[str]
    text: str
    numbers: Callable[[], Sequence[str]]

    def find(self, document: Document) -> Found:
        """Return where the document says it.

        Raises
        ------
        LookupError
            Where it does not, or at several places.
        """
        pattern = re.compile(_VALUE.join(re.escape(part) for part in self.text.split("{}")))
        found = [
            (section, place, match)
            for section in document.sections
            for place, block in enumerate(section.blocks)
            for match in pattern.finditer(block)
        ]
        if len(found) != 1:
            msg = f"{self.document} says {len(found)} times, expected once: {self.text!r}"
            raise LookupError(msg)
        section, place, match = found[0]
        numbers = list(self.numbers())
        said = list(match.groups())
        if len(numbers) != len(said):
            msg = f"{len(numbers)} numbers for {len(said)} places: {self.text!r}"
            raise LookupError(msg)
        differences = [
            f"says {word}, the results have {number}"
            for word, number in zip(said, numbers, strict=True)
            if word != number
        ]
        return Found(section, place, match.span(), tuple(differences))


@dataclass(frozen=True, slots=True)
class TableClaim:
    """A whole table.

    Parameters
    ----------
    document, sources
        As of `Claim`.
    heading : str
        Its first line, without spaces beside the bars.
    lines : callable
        Returns the cells of each line below.
    """

    document: str
    sources: Sequence[str]
    heading: str
    lines: Callable[[], Sequence[Sequence[str]]]

    def find(self, document: Document) -> Found:
        """Return where the table stands.

        Raises
        ------
        LookupError
            Where no table, or several, have this heading.
        """
        found = [
            (section, place, block)
            for section in document.sections
            for place, block in enumerate(section.blocks)
            if block.startswith(self.heading + "\n")
        ]
        if len(found) != 1:
            msg = f"{self.document} has {len(found)} tables, expected one, headed {self.heading!r}"
            raise LookupError(msg)
        section, place, block = found[0]
        said = [line[1:-1].split("|") for line in block.split("\n")[2:]]
        made = [list(line) for line in self.lines()]
        differences = [
            f"the line {'|'.join(line)} should be {'|'.join(right)}"
            for line, right in zip(said, made, strict=False)
            if line != right
        ]
        if len(said) != len(made):
            differences.append(f"has {len(said)} lines, the results make {len(made)}")
        return Found(section, place, (0, len(block)), tuple(differences))
