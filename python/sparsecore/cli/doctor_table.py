"""A diagnosis on a terminal: the model, numbers in a table, and verdicts as sentences below it."""

import re

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sparsecore.diagnosis import Diagnosis
from sparsecore.diagnosis.grouping import Group, groups
from sparsecore.diagnosis.text import heading, plain_words, table, totals
from sparsecore.diagnosis.verdict import FIXABLE

__all__ = ["print_diagnosis"]

# Numbers are read by their ends; and what goes first where a terminal is narrow.
_RIGHT = ("zeros", "2:4", "bytes", "csr", "rows", "dense", "sparse")
_NARROW, _LEFT_OUT = 100, ("dtype", "2:4", "csr")
_LEAST_NAME = 12
_STYLES = {"runs-sparse": "green", **dict.fromkeys(FIXABLE, "bold yellow")}


def print_diagnosis(console: Console, diagnosis: Diagnosis) -> None:
    """Print a diagnosis; on a narrow terminal with fewer columns, never with cut sentences."""
    console.print(Text(heading(diagnosis), style="bold"))
    for line in totals(diagnosis.summary):
        console.print(Text(line))
    if diagnosis.layers:
        console.print()
        console.print(_table(table(diagnosis.layers), console.width))
    for group in groups(diagnosis.layers):
        console.print()
        _print_title(console, group)
        for line in group.lines:
            _print_indented(console, Text(line))
    for line in ("", *plain_words(diagnosis.layers)):
        console.print(Text(line))
    for note in diagnosis.notes:
        console.print(Text(f"note: {note}", style="dim"))


def _table(rows: list[list[str]], width: int) -> Table:
    left_out = _LEFT_OUT if width < _NARROW else ()
    shown = [i for i, title in enumerate(rows[0]) if title not in left_out]
    widths = [max(len(row[i]) for row in rows) for i in shown]
    room = max(width - sum(widths[1:]) - 2 * len(widths[1:]), _LEAST_NAME)
    view = Table(box=None, pad_edge=False, header_style="bold")
    for i in shown:
        is_right = rows[0][i] in _RIGHT
        # What is too long even so is folded rather than cut.
        view.add_column(
            Text(_broken(rows[0][i], room, " ") if i == 0 else rows[0][i]),
            justify="right" if is_right else "left",
            no_wrap=i > 0,
            overflow="fold",
            min_width=_LEAST_NAME if i == 0 else None,
        )
    for row in rows[1:]:
        view.add_row(*(Text(_broken(row[i], room, ".") if i == 0 else row[i]) for i in shown))
    return view


def _broken(name: str, width: int, mark: str) -> str:
    """Return a name on lines of a width, broken after the marks in it as far as that goes."""
    lines = [""]
    for part in re.findall(rf"[^{re.escape(mark)}]*{re.escape(mark)}?", name):
        if lines[-1] and len(lines[-1]) + len(part.rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def _print_title(console: Console, group: Group) -> None:
    """Print the verdict and the names that have it."""
    style = _STYLES.get(group.code, "cyan")
    title = Text.assemble((group.code, style), f"  {group.title}")
    console.print(title)


def _print_indented(console: Console, words: Text) -> None:
    for line in words.wrap(console, max(console.width - 2, 20)):
        console.print(Text("  ") + line)
