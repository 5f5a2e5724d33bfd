"""The report of a conversion, as JSON has it: read and checked."""

import math
from dataclasses import dataclass
from typing import Any

from sparsecore.files.header_fields import Fields

__all__ = ["FORMATS", "Conversion", "ConvertedLayer", "read_conversion"]

FORMATS = ("dense", "csr", "2:4")


@dataclass(frozen=True, slots=True)
class ConvertedLayer:
    """What a page shows of one layer; the names are those of ``sparsecore.nn.LayerReport``."""

    name: str
    shape: tuple[int, int]
    sparsity: float
    is_24: bool
    rows: tuple[int, ...]
    seconds: dict[str, float]
    nbytes: dict[str, float]
    error: float | None
    choice: str
    why: str
    values: str | None

    @property
    def size(self) -> int:
        """Number of weights."""
        return self.shape[0] * self.shape[1]


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a page shows of a conversion; the names are those of ``sparsecore.nn.Report``."""

    layers: tuple[ConvertedLayer, ...]
    seconds_before: float | None
    seconds_after: float | None
    seconds_fused: float | None
    bytes_before: int
    bytes_after: int
    max_error: float
    fused: str
    already_sparse: tuple[str, ...]


def read_conversion(content: Any, place: str) -> Conversion:
    """Return what ``sparsecore.nn.Report.to_dict`` wrote.

    Raises
    ------
    ValueError
        If `content` is something else; begins with `place`.
    """
    fields = Fields(content, place)
    return Conversion(
        layers=tuple(map(_layer, fields.objects("layers"))),
        seconds_before=fields.number_or_none("seconds_before"),
        seconds_after=fields.number_or_none("seconds_after"),
        seconds_fused=fields.number_or_none("seconds_fused"),
        bytes_before=fields.natural("bytes_before"),
        bytes_after=fields.natural("bytes_after"),
        max_error=_or_nan(fields.number_or_none("max_error")),
        fused=fields.text(fields.get("fused", ""), "fused"),
        already_sparse=tuple(
            fields.text(name, "already_sparse") for name in fields.array("already_sparse")
        ),
    )


def _layer(fields: Fields) -> ConvertedLayer:
    rows, columns = fields.naturals("shape", (2,))
    values = fields.get("values")
    return ConvertedLayer(
        name=fields.text(fields.get("name"), "name"),
        shape=(rows, columns),
        sparsity=_or_nan(fields.number_or_none("sparsity")),
        is_24=fields.flag(fields.get("is_24"), "is_24"),
        rows=fields.naturals("rows", (len(fields.array("rows")),)),
        seconds=_by_format(fields.within("seconds")),
        nbytes=_by_format(fields.within("nbytes")),
        error=fields.number_or_none("error"),
        choice=fields.one_of(fields.get("choice"), "choice", FORMATS),
        why=fields.text(fields.get("why"), "why"),
        values=None if values is None else fields.text(values, "values"),
    )


def _by_format(fields: Fields) -> dict[str, float]:
    return {name: fields.number(name) for name in FORMATS if name in fields}


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
