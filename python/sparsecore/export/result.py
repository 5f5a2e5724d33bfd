"""What was exported, and what was checked of it, with numbers."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sparsecore.export.zeros import How, WeightCheck

__all__ = ["Exported"]

_HOW: dict[How, str] = {
    "bits": "with the same bits",
    "rows": "with the same rows in other tensors",
    "zeros": "with other numbers and all zeros",
}


@dataclass(frozen=True, slots=True)
class Exported:
    """A file that was written, and the checks that it has passed. ``str(result)`` says them.

    Attributes
    ----------
    path : Path
    nbytes : int
        Of the file, and of its external data where it has some.
    opset : int
    operators : dict of str to int
        How many nodes of each kind it has.
    weights : tuple of WeightCheck
        Every weight of the model that has zeros, as the file has it.
    optimised : tuple of WeightCheck or None
        The same after onnxruntime's optimisers; None where that was not asked for.
    error, allowed : float or None
        The largest difference of onnxruntime's outputs from torch's, relative to the largest
        magnitude of the output, and what rounding explains.
    batches : tuple of int
        The first sizes of the inputs that outputs were compared with.
    gemms : tuple of str
        The nodes that were MatMuls.
    """

    path: Path
    nbytes: int
    opset: int
    operators: dict[str, int]
    weights: tuple[WeightCheck, ...]
    optimised: tuple[WeightCheck, ...] | None
    error: float | None
    allowed: float | None
    batches: tuple[int, ...] = ()
    gemms: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready lists, dicts, numbers and strings."""
        return {**asdict(self), "path": str(self.path)}

    def __str__(self) -> str:
        """Return a line for the file and one for each check."""
        lines = [
            f"{self.path}: {self.nbytes:,} bytes, opset {self.opset}",
            f"zeros in the file: {_sentence(self.weights)}",
        ]
        if self.gemms:
            lines.append(f"rewritten: {len(self.gemms)} MatMul to Gemm")
        if self.optimised is None or self.error is None:
            return "\n".join([*lines, "onnxruntime: not asked"])
        return "\n".join(
            [
                *lines,
                f"zeros after onnxruntime's optimisers: {_sentence(self.optimised)}",
                f"outputs of onnxruntime: differ from torch's by {self.error:.2g} at most "
                f"(relative; rounding explains {self.allowed:.2g}), batches of "
                f"{' and '.join(map(str, self.batches))}",
            ]
        )


def _sentence(weights: Sequence[WeightCheck]) -> str:
    if not weights:
        return "no weight has any"
    counts = Counter(weight.how for weight in weights)
    parts = [f"{counts[how]} {words}" for how, words in _HOW.items() if counts[how]]
    zeros = sum(weight.zeros for weight in weights)
    return f"all {zeros:,} of {len(weights)} weights, {', '.join(parts)}"
