"""From a page to HTML: one file that holds everything and loads nothing."""

import base64
import hashlib
import html
from collections.abc import Iterator
from importlib.resources import files
from string import Template

from sparsecore._core import __version__
from sparsecore.html_report.elements import Element, element, markup
from sparsecore.html_report.page import Cell, Column, Fact, Figure, Page, Section, Table

__all__ = ["fragment", "render", "styled"]


def render(page: Page) -> str:
    """Return the page as an HTML document.

    It has a Content-Security-Policy that allows its own style, its own script and pictures in the
    page, and nothing else. Texts of the page, such as names of layers, are escaped.

    Examples
    --------
    >>> text = render(Page("a < b", (), ()))
    >>> "<title>a &lt; b</title>" in text, "<h1>a &lt; b</h1>" in text
    (True, True)
    """
    style, script = _asset("style.css"), _asset("sort.js")
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    body = element(
        "main",
        element("h1", page.title),
        _facts(page.facts) if page.facts else None,
        *(_section(section, f"section-{i}") for i, section in enumerate(page.sections)),
    )
    status = element("div", id="status", role="status", class_="hidden")
    footer = element("footer", f"Made by sparsecore {__version__}. This file loads nothing.")
    return Template(_asset("page.html")).substitute(
        policy=policy,
        version=html.escape(__version__),
        title=html.escape(page.title),
        style=style,
        body="\n".join(map(markup, (body, status, footer))),
        script=script,
    )


def fragment(page: Page) -> str:
    """Return a page as a part of another one, such as a notebook: without script or policy."""
    facts = _facts(page.facts) if page.facts else None
    return styled(facts, *(_section(section, None) for section in page.sections))


def styled(*elements: Element | None) -> str:
    """Return elements with the style of pages, for a notebook."""
    body = element("div", *elements, class_="sparsecore")
    return f"<style>{_asset('style.css')}</style>{markup(body)}"


def _asset(name: str) -> str:
    return files("sparsecore.html_report").joinpath(name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


# ---- parts of a page ----


def _facts(facts: tuple[Fact, ...]) -> Element:
    return element("dl", *map(_fact, facts), class_="facts")


def _fact(fact: Fact) -> Element:
    return element(
        "div",
        element("dt", fact.label),
        element("dd", fact.value, class_="value"),
        element("dd", fact.note, class_="note") if fact.note else None,
        class_=fact.tone or None,
    )


def _section(section: Section, name: str | None) -> Element:
    return element(
        "section",
        element("h2", section.title, id=name),
        *(element("p", text) for text in section.text),
        element("div", *map(_figure, section.figures), class_="figures")
        if section.figures
        else None,
        None if section.table is None else _scrolled(section.table, section.title),
        aria_labelledby=name,
    )


def _figure(figure: Figure) -> Element:
    notes = (element("span", note) for note in figure.notes)
    return element(
        "figure",
        element("figcaption", element("strong", figure.title), *notes),
        figure.drawing,
    )


# ---- tables ----


def _scrolled(table: Table, title: str) -> Element:
    """Return a table in a box of its own: wider than the page, it is scrolled by keys, too."""
    heads = (
        element("th", column.title, scope="col", class_=_class(column)) for column in table.columns
    )
    made = element(
        "table",
        element("caption", element("span", table.caption)),
        element("thead", element("tr", *heads)),
        element("tbody", *(element("tr", *_cells(table, row)) for row in table.rows)),
        class_="sortable",
    )
    return element("div", made, class_="scroll", tabindex=0, role="region", aria_label=title)


def _cells(table: Table, row: tuple[Cell, ...]) -> Iterator[Element]:
    first, *others = row
    yield element("th", first.text, scope="row")
    for column, cell in zip(table.columns[1:], others, strict=True):
        yield _cell(column, cell)


def _cell(column: Column, cell: Cell) -> Element:
    text: Element | str = cell.text
    if column.kind == "badge":
        text = element("span", cell.text, class_=f"badge {cell.tone}".strip())
    return element(
        "td",
        text,
        None if cell.part is None else _bar(cell.part),
        class_=_class(column),
        data_value=cell.number,
    )


def _class(column: Column) -> str | None:
    return column.kind if column.kind in ("number", "sentence") else None


def _bar(part: float) -> Element:
    whole = element("rect", width=100, height=6, class_="whole")
    filled = element("rect", width=100.0 * part, height=6, class_="part")
    return element(
        "svg",
        whole,
        filled,
        viewBox="0 0 100 6",
        preserveAspectRatio="none",
        class_="bar",
        aria_hidden="true",
    )
