"""A diagnosis of `sparsecore.doctor`, as JSON has it: read and checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sparsecore.files.header_fields import Fields
from sparsecore.html_report.page import Tone

__all__ = ["DiagnosisSummary", "Finding", "ReadDiagnosis", "Times", "Verdict", "read_diagnosis"]

_SCHEMA = 1
_BASES = {"seconds": "time", "macs": "multiplications", "weights": "weights"}
_TONES: Mapping[str, Tone] = {
    **dict.fromkeys(("no-zeros", "looked-up", "unknown"), ""),
    "runs-sparse": "good",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found, and what to do; the names are those of the diagnosis, as all here."""

    code: str
    sentence: str
    advice: str

    @property
    def words(self) -> str:
        """The code as words."""
        return self.code.replace("-", " ")

    @property
    def tone(self) -> Tone:
        """Whether it says that something could be better."""
        return _TONES.get(self.code, "bad")


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds by form, for a number of rows."""

    rows: int
    seconds: Mapping[str, float]
    measured: bool
    breakeven: float | None

    @property
    def best_sparse(self) -> tuple[float, str] | None:
        """Seconds and name of the fastest sparse form."""
        return min(((s, form) for form, s in self.seconds.items() if form != "dense"), default=None)


@dataclass(frozen=True, slots=True)
class Finding:
    """One layer."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    stored: str
    sparsity: float
    nonzeros: int
    nbytes: int
    csr_nbytes: int | None
    times: tuple[Times, ...]
    verdict: Verdict
    further: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class DiagnosisSummary:
    """The whole model; `basis` is in words."""

    verdict: Verdict
    weights: int
    zeros: int
    nbytes: int
    least_nbytes: int
    basis: str
    shares: Mapping[str, float]
    could_gain: float
    bound: float | None
    expected: float | None


@dataclass(frozen=True, slots=True)
class ReadDiagnosis:
    """A whole diagnosis."""

    summary: DiagnosisSummary
    layers: tuple[Finding, ...]
    notes: tuple[str, ...]


def read_diagnosis(content: Any, place: str) -> ReadDiagnosis:
    """Return what ``Diagnosis.to_dict`` of `sparsecore.doctor` returned.

    Raises
    ------
    ValueError
        If `content` is something else; begins with `place`.
    """
    fields = Fields(content, place)
    if (schema := fields.natural("schema")) != _SCHEMA:
        msg = f"{place} is a diagnosis of schema {schema}, expected {_SCHEMA}"
        raise ValueError(msg)
    return ReadDiagnosis(
        summary=_summary(fields.within("summary")),
        layers=tuple(map(_layer, fields.objects("layers"))),
        notes=tuple(fields.text(note, "notes") for note in fields.array("notes")),
    )


def _summary(fields: Fields) -> DiagnosisSummary:
    shares = fields.within("shares")
    return DiagnosisSummary(
        verdict=_verdict(fields.within("verdict")),
        weights=fields.natural("weights"),
        zeros=fields.natural("zeros"),
        nbytes=fields.natural("nbytes"),
        least_nbytes=fields.natural("least_nbytes"),
        basis=_BASES[fields.one_of(fields.get("basis"), "basis", tuple(_BASES))],
        shares={code: shares.number(code) for code in fields.mapping("shares")},
        could_gain=fields.number("could_gain"),
        bound=fields.number_or_none("bound"),
        expected=fields.number_or_none("expected"),
    )


def _layer(fields: Fields) -> Finding:
    shape = fields.naturals("shape", (len(fields.array("shape")),))
    nbytes = fields.within("nbytes")
    return Finding(
        name=fields.text(fields.get("name"), "name"),
        shape=shape,
        dtype=fields.text(fields.get("dtype"), "dtype"),
        stored=fields.text(fields.get("stored"), "stored"),
        sparsity=fields.number("sparsity"),
        nonzeros=fields.natural("nonzeros"),
        nbytes=nbytes.natural("stored"),
        csr_nbytes=None if nbytes.get("csr") is None else nbytes.natural("csr"),
        times=tuple(map(_times, fields.objects("times"))),
        verdict=_verdict(fields.within("verdict")),
        further=tuple(map(_verdict, fields.objects("further"))),
    )


def _times(fields: Fields) -> Times:
    seconds = fields.within("seconds")
    return Times(
        rows=fields.natural("rows"),
        seconds={form: seconds.number(form) for form in fields.mapping("seconds")},
        measured=fields.flag(fields.get("measured"), "measured"),
        breakeven=fields.number_or_none("breakeven_density"),
    )


def _verdict(fields: Fields) -> Verdict:
    names = ("code", "sentence", "advice")
    return Verdict(*(fields.text(fields.get(name), name) for name in names))
