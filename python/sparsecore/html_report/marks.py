"""Marks of a series: a shape of its own, so that colour is not all that tells series apart."""

from sparsecore.html_report.elements import Element, element

__all__ = ["SERIES", "mark", "series_class"]

# Unit shapes around 0, 0 of about the same area.
_PATHS = (
    "M-3.5,0a3.5,3.5 0 1,0 7,0a3.5,3.5 0 1,0 -7,0z",  # circle
    "M-3.2,-3.2h6.4v6.4h-6.4z",  # square
    "M0,-4.4l4.2,7.4h-8.4z",  # triangle
    "M0,-4.7l4.4,4.7l-4.4,4.7l-4.4,-4.7z",  # diamond
    "M0,4.4l4.2,-7.4h-8.4z",  # triangle upside down
    "M-1.4,-4.2h2.8v2.8h2.8v2.8h-2.8v2.8h-2.8v-2.8h-2.8v-2.8h2.8z",  # cross
)
SERIES = len(_PATHS)


def series_class(series: int) -> str:
    """Return the class that the colour of a series comes from."""
    return f"series-{series % SERIES}"


def mark(x: float, y: float, series: int, title: str, *, large: bool = False) -> Element:
    """Return the mark of a series at a place; `title` is shown where a pointer rests on it."""
    size = "scale(1.9)" if large else None
    shape = element("path", d=_PATHS[series % SERIES], transform=size)
    shape.set("class", "mark large" if large else "mark")
    return element(
        "g",
        element("title", title),
        shape,
        class_=series_class(series),
        transform=f"translate({x:.2f},{y:.2f})",
    )
