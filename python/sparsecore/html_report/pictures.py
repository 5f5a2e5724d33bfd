"""The picture of a weight: a spy plot, or densities where it is large."""

import numpy as np
import numpy.typing as npt

from sparsecore.formats.storage import density
from sparsecore.html_report.density_map import DensityMap, Weight, density_map
from sparsecore.html_report.elements import Element, element
from sparsecore.html_report.numbers import count, percent
from sparsecore.html_report.page import Figure
from sparsecore.html_report.png import LEVELS, data_uri

__all__ = ["mask_drawing", "mask_figure"]

# Pixels of the drawing: the longer side, and the least of the shorter.
_LONG, _SHORT = 300.0, 60.0
_MARGIN = 20.0


def mask_figure(name: str, weight: Weight) -> Figure:
    """Return the picture of a weight's entries with what can be read from it.

    Parameters
    ----------
    name : str
    weight : CSR, COO, Sparse24, or array or tensor of two or more dimensions

    Returns
    -------
    Figure
        Of less than 100 kB, whatever the size of the weight.
    """
    found = density_map(weight)
    return Figure(name, mask_drawing(name, found), _notes(found))


def mask_drawing(name: str, found: DensityMap) -> Element:
    """Return an ``svg`` of a weight's entries, labelled with its sides."""
    rows, columns = found.shape
    width, height = _sides(rows, columns)
    sparsity = _sparsity(found)
    describes = f"Where the weights of {name} are: {rows} x {columns}, {percent(sparsity)} zeros"
    picture = None
    if found.cells.size:
        picture = element(
            "image",
            x=_MARGIN,
            y=1,
            width=width,
            height=height,
            href=data_uri(_levels(found)),
            preserveAspectRatio="none",
            class_="pixels",
        )
    middle = f"translate(13,{1 + height / 2:g}) rotate(-90)"
    return element(
        "svg",
        element("title", describes),
        picture,
        element("rect", x=_MARGIN, y=1, width=width, height=height, class_="frame"),
        element(
            "text",
            f"{columns:,} columns",
            x=_MARGIN + width / 2,
            y=height + 16,
            class_="tick middle",
        ),
        element("text", f"{rows:,} rows", transform=middle, class_="tick middle"),
        viewBox=f"0 0 {width + _MARGIN + 1:g} {height + 21:g}",
        width=width + _MARGIN + 1,
        role="img",
        class_="mask",
    )


def _sides(rows: int, columns: int) -> tuple[float, float]:
    """Return width and height: of the matrix' proportions, as far as both sides can be seen."""
    longer = max(rows, columns, 1)
    return max(_LONG * columns / longer, _SHORT), max(_LONG * rows / longer, _SHORT)


def _levels(found: DensityMap) -> npt.NDArray[np.uint8]:
    """Return the densities in steps from nothing to the largest; no entry is rounded away."""
    densities = found.densities
    largest = densities.max() or 1.0
    return np.ceil(densities / largest * (LEVELS - 1) - 1e-9).astype(np.uint8)


def _sparsity(found: DensityMap) -> float:
    """Return the fraction without entries; a COO matrix may have several at one place."""
    return max(0.0, 1 - density(found.shape, found.nnz))


def _notes(found: DensityMap) -> tuple[str, ...]:
    rows, columns = found.shape
    if not found.cells.size:
        return ("It has no weights.",)
    notes = [
        f"{percent(_sparsity(found))} zeros: {found.nnz:,} of {rows * columns:,} weights are kept."
    ]
    least, most = int(found.rows.min()), int(found.rows.max())
    empty = int(np.count_nonzero(found.rows == 0))
    one = f"{most:,}" if least == most else f"{least:,} to {most:,}"
    none = f"; {count(empty, 'empty row')}" if empty else ""
    notes.append(f"A row keeps {one} of {columns:,}{none}.")
    if not found.is_exact:
        height, width = (-(-a // b) for a, b in zip(found.shape, found.cells.shape, strict=True))
        strongest = percent(float(found.densities.max()))
        notes.append(
            f"A pixel is up to {height} x {width} weights; full colour: {strongest} are kept."
        )
    return tuple(notes)
