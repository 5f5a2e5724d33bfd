"""The document of an ``e2e`` run: floor, rows, floor again, and what they were taken on."""

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import torch

from sparsecore.bench import report
from sparsecore.bench.arguments import Options
from sparsecore.bench.e2e.arguments import SHORT_SPIN
from sparsecore.bench.e2e.engines import Engine, find_engines, versions
from sparsecore.bench.e2e.measure import TOLERANCE, measure_networks
from sparsecore.bench.floor import measure_floor
from sparsecore.bench.run import QUIET, checkout, timer
from sparsecore.timing import machine_facts

__all__ = ["measure"]

FORMULA = "the best dense fp32 engine's median over sparsecore's; above 1 sparsecore is faster"
# Long enough that what another engine's threads still do in the beginning of a sample is nothing.
_SAMPLE_SECONDS = 0.01


def measure(options: Options, *, pinned: bool) -> dict[str, Any]:
    """Return the document."""
    torch.set_num_threads(options.threads)
    clock = timer(options)
    engines, missing = find_engines(options.engines)
    absent = {name: [reason] for name, reason in missing.items()}
    before = measure_floor(clock)
    slow = partial(clock, sample_seconds=_SAMPLE_SECONDS)
    rows = list(measure_networks(options, engines, slow, absent))
    print(file=sys.stderr)
    after = measure_floor(clock)
    moved = report.drift(before, after)
    return {
        "name": "e2e",
        "title": "whole networks, sparse against the best dense engine",
        "formula": FORMULA,
        "date": datetime.now(UTC).date().isoformat(),
        "protocol": _protocol(options, pinned=pinned),
        "machine": machine_facts(checkout()),
        "engines": _engines(engines),
        "absent": absent,
        "floor": {"before": before, "after": after, "drift": moved, "quiet": moved <= QUIET},
        "rows": rows,
    }


def _engines(engines: Mapping[str, Engine]) -> dict[str, dict[str, Any]]:
    return {
        name: {"precision": engine.precision, "versions": versions(engine)}
        for name, engine in engines.items()
    }


def _protocol(options: Options, *, pinned: bool) -> dict[str, Any]:
    return {
        "threads": options.threads,
        "pinned": pinned,
        "min_runs": options.min_runs,
        "min_seconds": options.min_seconds,
        "max_seconds": options.max_seconds,
        "sample_seconds": _SAMPLE_SECONDS,
        "seed": options.seed,
        "tolerance": TOLERANCE,
        "dense_weights": "before pruning",
        "environment": SHORT_SPIN,
    }
