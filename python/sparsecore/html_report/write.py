"""One page from many sources, and its file."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sparsecore.files.complete import complete_or_absent
from sparsecore.html_report.accuracy import accuracy_part
from sparsecore.html_report.conversion_part import conversion_part
from sparsecore.html_report.diagnosis_part import diagnosis_part
from sparsecore.html_report.documents import Documents, read_documents
from sparsecore.html_report.latency import latency_part
from sparsecore.html_report.page import Page, Part
from sparsecore.html_report.render import render
from sparsecore.html_report.weights import Weights, named, weights_of, weights_part

__all__ = ["make_page", "write_html"]

_TITLE = "What sparsity brings"


def make_page(
    *sources: Any, weights: Any = None, layers: Sequence[str] = (), title: str | None = None
) -> Page:
    """Return the page of several sources; parameters and errors are those of `write_html`."""
    if isinstance(layers, str):
        msg = f"make_page: layers is the text {layers!r}, expected a sequence of names"
        raise TypeError(msg)
    found = read_documents(sources)
    drawn = None if weights is None else weights_of(weights)
    chosen = _chosen(found, drawn, layers) if layers else None
    parts = [
        diagnosis_part(found.diagnosis) if found.diagnosis else Part(),
        conversion_part(found.conversion) if found.conversion else Part(),
        latency_part(found.curves, chosen, found.conversion),
        accuracy_part(found.accuracy),
    ]
    if drawn is not None:
        parts.append(weights_part(drawn, chosen, _pruned(found)))
    return Page.of(title or _TITLE, *parts)


def write_html(
    path: str | os.PathLike[str],
    *sources: Any,
    weights: Any = None,
    layers: Sequence[str] = (),
    title: str | None = None,
) -> None:
    """Write one HTML file that holds everything it shows, and loads nothing.

    Parameters
    ----------
    path : path
        The file; it appears when it is complete.
    *sources
        Each a ``sparsecore.nn.Report`` or ``LatencyTable``, a ``Diagnosis`` of `sparsecore.doctor`,
        or a sequence of (label, sparsity, accuracy) with fractions in [0, 1]; what JSON makes of
        one of these; or the path of a file of such JSON.
    weights : torch.nn.Module, WeightFiles, Checkpoint, or mapping of str to matrix, optional
        Whose weights are drawn: spy plots, of large ones densities.
    layers : sequence of str
        Names of the layers to draw, with ``*`` for any characters. If none are given, the largest
        weights and the slowest layers are drawn.
    title : str, optional

    Raises
    ------
    ValueError
        If a source is none of these, or there is no layer of a name.
    TypeError
        If `weights` is something else.
    OSError
        If a file cannot be read or written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> accuracy = [("magnitude", 0.0, 0.92), ("magnitude", 0.5, 0.91), ("magnitude", 0.9, 0.87)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "report.html")
    ...     write_html(path, accuracy, weights={"fc.weight": np.eye(64)}, title="A network")
    ...     "<h1>A network</h1>" in path.read_text(encoding="utf-8")
    True
    """
    page = make_page(*sources, weights=weights, layers=layers, title=title)
    # A name may hold half of a pair of code units, which no file of UTF-8 can.
    content = render(page).encode("utf-8", errors="replace")
    with complete_or_absent(Path(path)) as temporary:
        temporary.write_bytes(content)


def _chosen(found: Documents, drawn: Weights | None, layers: Sequence[str]) -> list[str]:
    names = [curve.name for curve in found.curves]
    return named(list(dict.fromkeys([*names, *(drawn.shapes if drawn else ())])), layers)


def _pruned(found: Documents) -> list[str]:
    known = found.conversion.layers if found.conversion else ()
    return [layer.name for layer in known if layer.sparsity > 0]
