"""The measurement of one network and batch: every engine and every pruned variant, in turns."""

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sparsecore.bench.arguments import Options
from sparsecore.bench.comparison import Absent, WrongResult
from sparsecore.bench.e2e.engines import Engine, Workload
from sparsecore.bench.e2e.engines.torch_engines import call_of
from sparsecore.bench.e2e.macs import positions
from sparsecore.bench.e2e.rows import Measured, row
from sparsecore.bench.e2e.variants import Variant, make_variant, planned, relative_error
from sparsecore.bench.models import NETWORKS, Inputs, Network, load
from sparsecore.bench.models.weights import calibrate_
from sparsecore.timing import Timer

__all__ = ["TOLERANCE", "measure_networks"]

# The largest error over the largest magnitude of an output in fp32. Over fifty layers, with the
# products of Winograd's transform, engines that are right differ by 1e-5 at most.
TOLERANCE = 1e-4
# What rounds by design: its error is reported, and only has to be a number. (Of stored values,
# `sparsify_` has checked each layer against what rounding explains.)
_ANY = 1e30
_CALIBRATED_ON = 8  # inputs for BatchNorm's statistics
_SAMPLES = 4  # batches for int8's ranges


@dataclass(frozen=True, slots=True)
class _Ready:
    """A dense engine that has been checked."""

    call: Callable[[], Any]
    error: float
    precision: str


def measure_networks(
    options: Options, engines: Mapping[str, Engine], clock: Timer, absent: dict[str, list[str]]
) -> Iterator[dict[str, Any]]:
    """Yield the rows; reasons why an engine has no time for a network are added to `absent`."""
    for name in options.models:
        for batch in options.batches or NETWORKS[name].batches:
            for found in _measured(name, batch, options, engines, clock):
                for engine, reason in found["absent"].items():
                    if (said := f"{name}: {reason}") not in absent.setdefault(engine, []):
                        absent[engine].append(said)
                yield found


def _measured(
    name: str, batch: int, options: Options, engines: Mapping[str, Engine], clock: Timer
) -> Iterator[dict[str, Any]]:
    network = NETWORKS[name]
    generator = torch.Generator().manual_seed(options.seed)
    calibration = network.inputs(_CALIBRATED_ON, generator)
    workload, weights = _workload(network, batch, calibration, generator, options)
    labels: dict[str, str | float] = {"model": name, "batch": batch, "threads": options.threads}
    ready, absent = _ready(f"{name}, batch {batch}", engines, workload)
    variants = _variants(f"{name}, batch {batch}", network, workload, calibration, options)
    times = clock(
        {
            **{found.name: found.call for found in variants},
            **{engine: found.call for engine, found in ready.items()},
        }
    )
    _dot()
    dense = {
        engine: Measured(times[engine], found.error, found.precision)
        for engine, found in ready.items()
    }
    labels |= {"weights": weights}
    for found in variants:
        yield row(labels, dense, absent, found, times[found.name])


def _workload(
    network: Network,
    batch: int,
    calibration: Inputs,
    generator: torch.Generator,
    options: Options,
) -> tuple[Workload, str]:
    model, weights = load(network, options.seed)
    if weights == "random":
        calibrate_(model, calibration)
    inputs = network.inputs(batch, generator)
    samples = tuple(network.inputs(batch, generator) for _ in range(_SAMPLES))
    return Workload(model, inputs, samples, options.threads), weights


def _ready(
    where: str, engines: Mapping[str, Engine], workload: Workload
) -> tuple[dict[str, _Ready], dict[str, str]]:
    """Build every engine and check its output, or say why it has none."""
    ready, absent = {}, {}
    reference = call_of(workload.model, workload.inputs)()
    for name, engine in engines.items():
        try:
            call = engine.run(workload)
        except Absent as reason:
            absent[name] = str(reason)
            continue
        error = relative_error(_as_tensor(call()), reference)
        _check(f"{where}: {name}", error, TOLERANCE if engine.precision == "float32" else _ANY)
        ready[name] = _Ready(call, error, engine.precision)
        _dot()
    return ready, absent


def _variants(
    where: str, network: Network, workload: Workload, calibration: Inputs, options: Options
) -> list[Variant]:
    uses = positions(workload.model, workload.inputs)
    made = []
    for pattern, sparsity, values in planned(options.patterns, options.sparsities, options.values):
        found = make_variant(
            workload,
            pattern,
            sparsity,
            values=values,
            ends=network.ends,
            uses=uses,
            calibration=calibration,
        )
        limit = TOLERANCE if values is None else _ANY
        _check(f"{where}: sparsecore, {found.name}", found.error, limit)
        made.append(found)
        _dot()
    return made


def _check(what: str, error: float, tolerance: float) -> None:
    if not (math.isfinite(error) and error <= tolerance):
        msg = f"{what} is off by {error:.3g} of the largest output, where {tolerance:g} is allowed"
        raise WrongResult(msg)


def _as_tensor(result: Any) -> Tensor:
    return torch.as_tensor(result)


def _dot() -> None:
    """Show on stderr that one thing more is done."""
    print(".", end="", file=sys.stderr, flush=True)
