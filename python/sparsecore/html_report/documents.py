"""What a page is made of: reports, tables and diagnoses, as objects, dicts or JSON files."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsecore.html_report.accuracy import Accuracy, read_accuracy
from sparsecore.html_report.conversion import Conversion, read_conversion
from sparsecore.html_report.diagnosis import ReadDiagnosis, read_diagnosis
from sparsecore.html_report.latency import LayerCurve, read_latency

__all__ = ["Documents", "read_documents"]


@dataclass(frozen=True, slots=True)
class Documents:
    """What was found in the sources.

    Attributes
    ----------
    conversion : Conversion or None
    curves : tuple of LayerCurve
        Latency against density.
    accuracy : tuple of Accuracy
    diagnosis : ReadDiagnosis or None
    """

    conversion: Conversion | None = None
    curves: tuple[LayerCurve, ...] = ()
    accuracy: tuple[Accuracy, ...] = ()
    diagnosis: ReadDiagnosis | None = None


def read_documents(sources: Sequence[Any]) -> Documents:
    """Read sources, each by what it has in it.

    Parameters
    ----------
    sources : sequence
        Each a ``sparsecore.nn.Report`` or ``LatencyTable``, a ``Diagnosis`` of `sparsecore.doctor`,
        or a sequence of (label, sparsity, accuracy); what JSON makes of one of these; or the path
        of a file of such JSON. An array of accuracies may be in an object's "accuracy".

    Returns
    -------
    Documents

    Raises
    ------
    ValueError
        If a source is none of these, or there are two of one kind besides accuracies.
    OSError
        If a file cannot be read.
    """
    conversion: Conversion | None = None
    curves: tuple[LayerCurve, ...] = ()
    accuracy: tuple[Accuracy, ...] = ()
    diagnosis: ReadDiagnosis | None = None
    for i, source in enumerate(sources):
        content, place = _content(source, f"source {i}")
        match kind := _kind(content, place):
            case "conversion" if conversion is None:
                conversion = read_conversion(content, place)
            case "latency" if not curves:
                curves = read_latency(content, place)
            case "diagnosis" if diagnosis is None:
                diagnosis = read_diagnosis(content, place)
            case "accuracy":
                points = content["accuracy"] if isinstance(content, Mapping) else content
                accuracy += read_accuracy(points, place)
            case _:
                msg = f"{place} is the second {_WORDS[kind]}, expected one: make a page of each"
                raise ValueError(msg)
    return Documents(conversion, curves, accuracy, diagnosis)


_WORDS = {
    "conversion": "report of a conversion",
    "latency": "table of latencies",
    "diagnosis": "diagnosis",
}


def _content(source: Any, place: str) -> tuple[Any, str]:
    """Return a source as JSON has it, and how messages call it."""
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        try:
            return json.loads(path.read_text(encoding="utf-8")), str(path)
        except (ValueError, RecursionError) as error:
            msg = f"{path} is not JSON: {error}"
            raise ValueError(msg) from error
    if hasattr(source, "to_dict"):
        return source.to_dict(), place
    return (json.loads(source.to_json()) if hasattr(source, "to_json") else source), place


def _kind(content: Any, place: str) -> str:
    if isinstance(content, Mapping):
        keys = content.keys()
        if {"layers", "bytes_before"} <= keys:
            return "conversion"
        if {"layers", "skipped"} <= keys:
            return "latency"
        if {"layers", "summary", "schema"} <= keys:
            return "diagnosis"
        if "accuracy" in keys:
            return "accuracy"
        found = f"an object with {', '.join(sorted(map(str, keys))[:6]) or 'no keys'}"
    elif isinstance(content, list | tuple):
        return "accuracy"
    else:
        found = f"{content!r:.80}"
    msg = (
        f"{place} is {found:.200}, expected a report of sparsify_, a table of measure_layers, a "
        "diagnosis of doctor or an array of [label, sparsity, accuracy]"
    )
    raise ValueError(msg)
