"""Matrices as notebooks show them: a table of facts, and where the entries are."""

from typing import Any

from sparsecore.formats import COO, CSR, Sparse24
from sparsecore.html_report.density_map import density_map
from sparsecore.html_report.elements import Element, element
from sparsecore.html_report.numbers import nbytes_text, percent
from sparsecore.html_report.pictures import mask_drawing
from sparsecore.html_report.render import styled

__all__ = ["matrix_html", "plan_html"]

# Counting more entries, or scanning more slots, takes longer than a notebook should for a line.
_MOST_ENTRIES = 20_000_000


def matrix_html(matrix: CSR | COO | Sparse24) -> str:
    """Return a matrix as a fragment of HTML.

    The picture is left out where the matrix is on a device, from which it would have to be copied,
    and where it has more than twenty million entries.

    Examples
    --------
    >>> import numpy as np
    >>> import sparsecore as sc
    >>> "3 x 3" in matrix_html(sc.CSR.from_dense(np.eye(3)))
    True
    """
    name, storage = type(matrix).__name__, matrix.storage()
    facts = {
        **_facts(matrix),
        "density": percent(matrix.density),
        "bytes": f"{nbytes_text(matrix.nbytes)}, dense {nbytes_text(storage.dense)}",
    }
    is_drawn = str(matrix.device) == "cpu" and matrix.nnz <= _MOST_ENTRIES
    drawing = mask_drawing(name, density_map(matrix)) if is_drawn else None
    return styled(_table(name, facts), drawing)


def plan_html(plan: Any) -> str:
    """Return a plan as a fragment of HTML: without a picture, since its layout is its own."""
    facts = {**_facts(plan), "kernel": plan.kernel, "bytes": nbytes_text(plan.nbytes)}
    return styled(_table(type(plan).__name__, facts))


def _facts(matrix: Any) -> dict[str, str]:
    rows, columns = matrix.shape
    return {
        "shape": f"{rows:,} x {columns:,}",
        "entries": f"{matrix.nnz:,}",
        "dtype": str(matrix.dtype).removeprefix("torch."),
        "device": str(matrix.device),
    }


def _table(name: str, facts: dict[str, str]) -> Element:
    rows = (
        element("tr", element("th", fact, scope="row"), element("td", value))
        for fact, value in facts.items()
    )
    return element("table", element("caption", name), element("tbody", *rows))
