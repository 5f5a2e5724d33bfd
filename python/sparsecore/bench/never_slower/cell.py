"""One cell of the matrix: a pruned model, converted for one batch, against itself and its copy."""

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

import sparsecore as sc
from sparsecore.bench.comparison import WrongResult
from sparsecore.bench.e2e.patterns import prunable
from sparsecore.bench.never_slower.subjects import Arguments
from sparsecore.nn import Report
from sparsecore.nn.accuracy import outputs_difference
from sparsecore.nn.example import Example
from sparsecore.timing import Timer, Timing

__all__ = [
    "MARGIN",
    "QUIET_CELL",
    "THRESHOLD",
    "TOLERANCE",
    "is_slower",
    "measure_cell",
    "other_kinds",
    "unexplained",
]

# Relative to the largest output, on inputs that sparsify_ never saw; the same as that of ``e2e``.
TOLERANCE = 1e-4
# Slower is below this ratio, and by more than the margin below that of the cell's two dense copies.
THRESHOLD = 0.97
MARGIN = 0.02
# A measurement in which the two copies differ by more says nothing.
QUIET_CELL = 0.05
_MEASUREMENTS = 3


@dataclass(frozen=True, slots=True)
class _Ratios:
    """Dense over converted, and dense over its copy, of medians in one loop."""

    ratio: float
    same: float

    @property
    def noise(self) -> float:
        return abs(math.log(self.same))

    @property
    def is_slower(self) -> bool:
        return is_slower(self.ratio, self.same)


def is_slower(ratio: float, same: float) -> bool:
    """Whether a converted model lost time beyond noise.

    Parameters
    ----------
    ratio : float
        The dense model's median over the converted one's.
    same : float
        The dense model's median over that of its copy: how far from 1 noise alone leads.

    Examples
    --------
    >>> is_slower(0.96, 1.0), is_slower(0.98, 1.0), is_slower(0.96, 1.05), is_slower(0.92, 1.05)
    (True, False, False, True)
    """
    return ratio < min(THRESHOLD, min(same, 1 / same) - MARGIN)


def measure_cell(
    dense: nn.Module, example: Arguments, fresh: Arguments, clock: Timer, *, threads: int
) -> dict[str, Any]:
    """Convert a copy of a model for the example, and time it on other inputs of the same shape.

    Measured up to three times, until the two dense copies agree and the converted model is not
    slower. The measurement in which the copies differ the least counts; the cell is slower if it
    is so in that one and in another, and noisy if the copies agree in none.

    Parameters
    ----------
    dense : torch.nn.Module
        Pruned, in evaluation mode; not edited.
    example, fresh : tuple of Tensor or dict
        What ``sparsify_`` is given, and what is timed.
    clock : Timer
        Measures the three contenders.
    threads : int

    Returns
    -------
    dict
        Ready for JSON.

    Raises
    ------
    WrongResult
        If the outputs differ by more than `TOLERANCE`, or a dense layer has no reason.
    """
    converted, copy = deepcopy(dense), deepcopy(dense)
    report = sc.nn.sparsify_(converted, example, trainable=False, threads=threads)
    if missing := unexplained(report, prunable(dense, ())):
        msg = f"sparsify_ gives no reason why these stay dense: {', '.join(missing)}"
        raise WrongResult(msg)
    calls = {
        name: _call_of(model, fresh)
        for name, model in (("dense", dense), ("dense again", copy), ("converted", converted))
    }
    error = outputs_difference(calls["converted"](), calls["dense"]())
    if not (math.isfinite(error) and error <= TOLERANCE):
        msg = f"off by {error:.3g} of the largest output, where {TOLERANCE:g} is allowed"
        raise WrongResult(msg)
    return {**_timed(calls, clock), "error": error, **_told(report)}


def _timed(calls: Mapping[str, Callable[[], Any]], clock: Timer) -> dict[str, Any]:
    """Measure until it says something, and choose by noise which measurement counts."""
    measured: list[tuple[_Ratios, Mapping[str, Timing]]] = []
    for _ in range(_MEASUREMENTS):
        times = clock(calls)
        measured.append((_ratios(times), times))
        last = measured[-1][0]
        if last.noise <= QUIET_CELL and not last.is_slower:
            break
    counts, times = min(measured, key=lambda pair: pair[0].noise)
    slower = sum(ratios.is_slower for ratios, _ in measured)
    return {
        **asdict(counts),
        "slower": counts.is_slower and slower > 1,
        "noisy": counts.noise > QUIET_CELL,
        "measurements": [asdict(ratios) for ratios, _ in measured],
        "seconds": {name: asdict(timing) for name, timing in times.items()},
    }


def _told(report: Report) -> dict[str, Any]:
    """Return what sparsify_ said: choices, reasons, and the ratio that it measured itself."""
    before, after = report.seconds_before, report.seconds_after
    return {
        "choices": dict(Counter(layer.choice for layer in report.layers)),
        "stay_dense": {d.name: d.why for d in report.layers if d.choice == "dense"},
        "fused": report.fused,
        "channels_last": report.channels_last,
        "own_ratio": None if before is None or not after else before / after,
    }


def unexplained(report: Report, layers: Collection[str]) -> list[str]:
    """Return the layers that stay dense without a word: not reported, or without a reason."""
    reported = {layer.name: layer for layer in report.layers}
    silent = [d.name for d in report.layers if d.choice == "dense" and not d.why.strip()]
    return [*(name for name in layers if name not in reported), *silent]


def other_kinds(model: nn.Module) -> dict[str, str]:
    """Return the modules with matrices that no sparse layer replaces, and their kinds."""
    return {
        name: type(module).__name__
        for name, module in model.named_modules()
        if not isinstance(module, nn.Linear | nn.Conv2d)
        and any(parameter.ndim > 1 for parameter in module.parameters(recurse=False))
    }


def _call_of(model: nn.Module, arguments: Arguments) -> Callable[[], Any]:
    example = Example.of(arguments)

    def call() -> Any:
        with torch.inference_mode():
            return example.call(model)

    return call


def _ratios(times: Mapping[str, Timing]) -> _Ratios:
    dense = times["dense"].median
    return _Ratios(dense / times["converted"].median, dense / times["dense again"].median)
