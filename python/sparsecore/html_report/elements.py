"""Elements of HTML and SVG, escaped by the standard library when they become text."""

from typing import TypeAlias
from xml.etree import ElementTree

__all__ = ["Element", "element", "markup"]

Element: TypeAlias = ElementTree.Element


def element(tag: str, *children: "Element | str | None", **attributes: object) -> Element:
    """Return an element with texts and elements in it, in this order; None is left out.

    Attributes that are None or False are left out, True has no value; ``class_`` is class, and
    underscores become dashes.

    Examples
    --------
    >>> markup(element("p", "1 < 2, ", element("b", "so"), class_="note", data_x=1.50))
    '<p class="note" data-x="1.5">1 &lt; 2, <b>so</b></p>'
    """
    made = ElementTree.Element(tag)
    for name, value in attributes.items():
        if value is not None and value is not False:
            made.set(name.rstrip("_").replace("_", "-"), _text(value))
    for child in children:
        _append(made, child)
    return made


def markup(made: Element) -> str:
    """Return an element as HTML."""
    return ElementTree.tostring(made, encoding="unicode", method="html")


def _text(value: object) -> str:
    if value is True:
        return ""
    # Hundredths of a pixel, and numbers that sorting compares.
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _append(parent: Element, child: Element | str | None) -> None:
    if isinstance(child, str):
        if len(parent):
            parent[-1].tail = (parent[-1].tail or "") + child
        else:
            parent.text = (parent.text or "") + child
    elif child is not None:
        parent.append(child)
