"""A diagnosis on a terminal: numbers in a table, verdicts as sentences below it."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sparsecore.diagnosis import Diagnosis, LayerDiagnosis
from sparsecore.diagnosis.text import COLUMNS, cells, heading, is_plain, plain_words, totals
from sparsecore.diagnosis.verdict import FIXABLE
from sparsecore.diagnosis.words import printable

__all__ = ["print_diagnosis"]

# Numbers are read by their ends; and what goes first where a terminal is narrow.
_RIGHT = ("zeros", "2:4", "bytes", "csr", "rows", "dense", "sparse")
_NARROW, _LEFT_OUT = 100, ("dtype", "2:4", "csr")
_STYLES = {"runs-sparse": "green", **dict.fromkeys(FIXABLE, "bold yellow")}


def print_diagnosis(console: Console, diagnosis: Diagnosis) -> None:
    """Print a diagnosis; on a narrow terminal with fewer columns, never with cut sentences."""
    console.print(Text(heading(diagnosis), style="bold"))
    if diagnosis.layers:
        console.print(_table(diagnosis.layers, is_narrow=console.width < _NARROW))
    for layer in diagnosis.layers:
        if not is_plain(layer):
            _print_verdicts(console, layer)
    for line in ("", *plain_words(diagnosis.layers), ""):
        console.print(Text(line))
    for line in totals(diagnosis.summary):
        console.print(Text(line), soft_wrap=False)
    for note in diagnosis.notes:
        console.print(Text(f"note: {note}", style="dim"))


def _table(layers: tuple[LayerDiagnosis, ...], *, is_narrow: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    left_out = _LEFT_OUT if is_narrow else ()
    shown = [i for i, title in enumerate(COLUMNS) if title not in left_out]
    for i in shown:
        title = COLUMNS[i]
        is_right = title in _RIGHT
        is_name = title == COLUMNS[0]
        table.add_column(
            title,
            justify="right" if is_right else "left",
            no_wrap=not is_name,
            overflow="fold",
            min_width=12 if is_name else None,
        )
    for layer in layers:
        for row in cells(layer):
            table.add_row(*(Text(row[i]) for i in shown))
    return table


def _print_verdicts(console: Console, layer: LayerDiagnosis) -> None:
    """Print the verdict on a layer, and what else was found, each on lines of its own."""
    console.print()
    code = layer.verdict.code
    title = Text(printable(layer.name))
    title.append(f"  {code}", style=_STYLES.get(code, "cyan"))
    console.print(title)
    for verdict in (layer.verdict, *layer.further):
        also = "" if verdict is layer.verdict else "also: "
        _print_indented(console, f"{also}{verdict.sentence}")
        if verdict.advice and verdict is layer.verdict:
            _print_indented(console, f"to do: {verdict.advice}")


def _print_indented(console: Console, words: str) -> None:
    lines = Text(printable(words)).wrap(console, max(console.width - 2, 20))
    for line in lines:
        console.print(Text("  ") + line)
