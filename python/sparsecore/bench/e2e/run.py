"""The document of an ``e2e`` run: floor, rows, floor again, and what they were taken on."""

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import torch

from sparsecore.bench import report
from sparsecore.bench.arguments import Options
from sparsecore.bench.e2e.engines import Engine, find_engines, versions
from sparsecore.bench.e2e.measure import TOLERANCE, measure_networks
from sparsecore.bench.floor import measure_floor
from sparsecore.bench.run import QUIET, checkout, timer
from sparsecore.timing import machine_facts

__all__ = ["measure"]

FORMULA = "the best dense fp32 engine's median over sparsecore's; above 1 sparsecore is faster"
# With several threads, engines let theirs wait actively after a call, for the next one: GNU
# OpenMP's did so for 9 ms, onnxruntime's for 36 ms, on the core that the next engine needs. To
# forbid it would make onnxruntime up to 1.6 times as slow. So everyone gets a rest before a sample,
# in which the others' threads fall asleep, and a sample is long beside what waking up costs.
_PAUSE_SECONDS = 0.05
_SAMPLE_SECONDS = 0.01


def measure(options: Options, *, pinned: bool) -> dict[str, Any]:
    """Return the document."""
    torch.set_num_threads(options.threads)
    clock = timer(options)
    engines, missing = find_engines(options.engines)
    absent = {name: [reason] for name, reason in missing.items()}
    before = measure_floor(clock)
    pause = _PAUSE_SECONDS if options.threads > 1 else 0.0
    rested = partial(clock, sample_seconds=_SAMPLE_SECONDS, pause=pause)
    rows = list(measure_networks(options, engines, rested, absent))
    print(file=sys.stderr)
    after = measure_floor(clock)
    moved = report.drift(before, after)
    return {
        "name": "e2e",
        "title": "whole networks, sparse against the best dense engine",
        "formula": FORMULA,
        "date": datetime.now(UTC).date().isoformat(),
        "protocol": {**_protocol(options, pinned=pinned), "pause_seconds": pause},
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
    }
