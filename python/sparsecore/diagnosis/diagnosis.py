"""What `doctor` found: values, JSON and text."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from sparsecore.diagnosis.backends import Backend
from sparsecore.diagnosis.estimate import Times
from sparsecore.diagnosis.facts import LayerFacts
from sparsecore.diagnosis.verdict import Verdict

__all__ = ["SCHEMA", "Diagnosis", "LayerDiagnosis", "Summary"]

SCHEMA = 1
"""The version of what `Diagnosis.to_dict` returns: raised where a field changes its meaning."""


@dataclass(frozen=True, slots=True)
class LayerDiagnosis:
    """One layer.

    Attributes
    ----------
    facts : LayerFacts
    backends : tuple of Backend
    times : tuple of Times
        One for a layer whose rows are known, else one for each number of rows assumed; empty where
        there is no estimate.
    verdict : Verdict
        The one that explains the layer.
    further : tuple of Verdict
        What else was found, in the order tested.
    """

    facts: LayerFacts
    backends: tuple[Backend, ...]
    times: tuple[Times, ...]
    verdict: Verdict
    further: tuple[Verdict, ...] = ()

    @property
    def name(self) -> str:
        """The name of the weight."""
        return self.facts.name

    @property
    def codes(self) -> frozenset[str]:
        """The codes of all verdicts on the layer."""
        return frozenset({self.verdict.code, *(verdict.code for verdict in self.further)})

    def to_dict(self) -> dict[str, Any]:
        """Return what `Diagnosis.to_dict` has of a layer."""
        facts, use = self.facts, self.facts.use
        return {
            "name": facts.name,
            "shape": list(facts.shape),
            "dtype": facts.dtype,
            "device": facts.device,
            "stored": facts.stored,
            "counted": facts.counted,
            "sparsity": facts.sparsity,
            "nonzeros": facts.counts.nonzeros,
            "share_24": dict(facts.share_24),
            "nbytes": asdict(facts.nbytes),
            "masked": facts.masked,
            "use": None if use is None else asdict(use),
            "times": [
                {
                    "rows": time.rows,
                    "seconds": dict(time.seconds),
                    "measured": time.measured,
                    "breakeven_density": time.breakeven,
                }
                for time in self.times
            ],
            "backends": [asdict(backend) for backend in self.backends],
            "verdict": asdict(self.verdict),
            "further": [asdict(verdict) for verdict in self.further],
        }


@dataclass(frozen=True, slots=True)
class Summary:
    """The whole model.

    Attributes
    ----------
    verdict : Verdict
    weights, zeros : int
        Entries of all layers, and how many are zero.
    nbytes : int
        Of all layers as they are stored.
    least_nbytes : int
        Of all layers, each in its smallest form.
    macs : int or None
        Multiplications of one run; None where that is unknown.
    basis : {"seconds", "macs", "weights"}
        What the shares are of: the dense layers' times, or where those are not known for all,
        multiplications, or where those are not, weights.
    shares : mapping of str to float
        By verdict, the share of the layers that have it; of those present.
    could_gain : float
        The share of the layers that a sparse form makes faster.
    bound : float or None
        How many times faster the layers together can become at most, if those that could gain took
        no time (Amdahl); None where all could gain, or shares are of weights, which tell no time.
        What is not a layer makes it less.
    expected : float or None
        The same with the times that they take in their best form; None without times.
    """

    verdict: Verdict
    weights: int
    zeros: int
    nbytes: int
    least_nbytes: int
    macs: int | None
    basis: str
    shares: Mapping[str, float]
    could_gain: float
    bound: float | None
    expected: float | None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why a pruned model is not faster, layer by layer. ``str(diagnosis)`` is a text.

    Attributes
    ----------
    subject : str
        The class of the model, or the name of the file.
    kind : str
        "model", or the kind of the file: "safetensors", "sparsecore", "compressed-tensors",
        "torch", "onnx" or "npz".
    layers : tuple of LayerDiagnosis
        In the order of the model or of the file.
    summary : Summary
    notes : tuple of str
        What could not be known, and why.
    machine : mapping
        What times were estimated or measured on, as ``sparsecore.timing.machine_facts``.
    """

    subject: str
    kind: str
    layers: tuple[LayerDiagnosis, ...]
    summary: Summary
    notes: tuple[str, ...] = ()
    machine: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> LayerDiagnosis:
        """Return the layer whose weight has a name.

        Raises
        ------
        KeyError
            Where there is none.
        """
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(name)

    @property
    def verdicts(self) -> dict[str, str]:
        """The code of each layer's verdict, by name."""
        return {layer.name: layer.verdict.code for layer in self.layers}

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready lists, dicts, numbers and strings.

        Keys are stable: what is added later does not change those that are there, and ``schema``
        is raised where one changes its meaning. See ``docs/doctor.md``.
        """
        content = {
            "schema": SCHEMA,
            "subject": self.subject,
            "kind": self.kind,
            "summary": {**asdict(self.summary), "shares": dict(self.summary.shares)},
            "layers": [layer.to_dict() for layer in self.layers],
            "notes": list(self.notes),
            "machine": dict(self.machine),
        }
        as_json: dict[str, Any] = json.loads(json.dumps(content))
        return as_json

    def save_html(self, path: str | os.PathLike[str]) -> None:
        """Write the diagnosis as one HTML file that holds everything it shows, and loads nothing.

        Parameters
        ----------
        path : path
            As of :func:`sparsecore.html_report.write_html`, which takes several sources.
        """
        from sparsecore.html_report import write_html

        write_html(path, self, title=f"Why is {self.subject} not faster?")

    def _repr_html_(self) -> str:
        """Return the summary and the layers as a notebook shows them."""
        from sparsecore.html_report.render import fragment
        from sparsecore.html_report.write import make_page

        return fragment(make_page(self))

    def __str__(self) -> str:
        """Return a table of the layers, the verdicts, and the summary."""
        from sparsecore.diagnosis.text import text

        return text(self)
