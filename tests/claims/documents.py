"""Documents as sections of blocks, and the numbers in them."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["ROOT", "Document", "Section", "document", "documents", "numbers"]

ROOT = Path(__file__).resolve().parent.parent.parent

_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ +(?P<title>.+)$", re.MULTILINE)
_IMAGE = re.compile(r"!\[[^\]]*\]\([^)]*\)")
_LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
_ITEM = re.compile(r"^(?:[-*]|\d+\.) ")
_RESULT = re.compile(r"bench/results/(?P<name>[\w-]+)\.json$")
_CODE = re.compile(r"`[^`]*`")
# A number by itself: not part of a name (fp32, ResNet-50, x86-64), of a pattern (2:4) or a version.
_NUMBER = re.compile(r"(?<![\w:.-])\d+(?:[.,]\d+)*(?!(?!x\b)[\w:]|[.,]\d)")


@dataclass(frozen=True, slots=True)
class Section:
    """What stands between two headings: its blocks, and the results that it links to.

    A block is a paragraph, a list item or a table. Paragraphs and items are one line, links are
    their texts; of a table the cells have no spaces around them.
    """

    title: str
    blocks: tuple[str, ...]
    results: frozenset[str]


@dataclass(frozen=True, slots=True)
class Document:
    """A document's name and its sections."""

    name: str
    sections: tuple[Section, ...]


def documents() -> list[str]:
    """Return README and everything in docs but the decision records, which are of their time."""
    found = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
    names = [str(path.relative_to(ROOT)) for path in found]
    return [name for name in names if not name.startswith("docs/adr/")]


@cache
def document(name: str) -> Document:
    """Read a document; code blocks and directives are left out."""
    text = _FENCED.sub("", (ROOT / name).read_text(encoding="utf-8"))
    starts = list(_HEADING.finditer(text))
    ends = [match.start() for match in starts[1:]] + [len(text)]
    return Document(
        name,
        tuple(
            _section(match["title"], text[match.end() : end])
            for match, end in zip(starts, ends, strict=True)
        ),
    )


def _section(title: str, body: str) -> Section:
    targets = (link["target"] for link in _LINK.finditer(body))
    results = frozenset(match["name"] for target in targets if (match := _RESULT.search(target)))
    plain = _LINK.sub(lambda link: link["text"], _IMAGE.sub("", body))
    blocks = [_block(lines) for part in re.split(r"\n\s*\n", plain) for lines in _items(part)]
    return Section(title, tuple(block for block in blocks if block), results)


def _items(part: str) -> list[list[str]]:
    groups: list[list[str]] = [[]]
    for line in part.strip().split("\n"):
        in_table = bool(groups[-1]) and groups[-1][0].startswith("|")
        if _ITEM.match(line) or line.startswith("|") != in_table:
            groups.append([])
        groups[-1].append(line)
    return groups


def _block(lines: list[str]) -> str:
    if lines and lines[0].startswith("|"):
        return "\n".join(re.sub(r" *\| *", "|", line.strip()) for line in lines)
    return " ".join(" ".join(lines).split())


def numbers(block: str) -> list[tuple[int, int]]:
    """Return where numbers stand in a block, outside of code."""
    blank = _CODE.sub(lambda code: " " * len(code[0]), block)
    return [match.span() for match in _NUMBER.finditer(blank)]
