"""The document of a ``never-slower`` run: floor, cells, floor again, and what they amount to."""

import math
import sys
from collections.abc import Iterator, Sequence
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import torch

from sparsecore.bench import report
from sparsecore.bench.arguments import Options
from sparsecore.bench.comparison import WrongResult
from sparsecore.bench.e2e.patterns import prune_
from sparsecore.bench.floor import measure_floor
from sparsecore.bench.models.weights import calibrate_, seeded
from sparsecore.bench.never_slower.arguments import MODELS
from sparsecore.bench.never_slower.cell import (
    MARGIN,
    QUIET_CELL,
    THRESHOLD,
    TOLERANCE,
    measure_cell,
    other_kinds,
)
from sparsecore.bench.never_slower.subjects import SUBJECTS
from sparsecore.bench.run import QUIET, checkout, timer
from sparsecore.timing import Timer, machine_facts

__all__ = ["measure", "summary"]

FORMULA = "the dense model's median over the converted one's; above 1 sparsify_ made it faster"
_CALIBRATED_ON = 8  # inputs for BatchNorm's statistics


def measure(options: Options, *, pinned: bool) -> dict[str, Any]:
    """Return the document.

    Raises
    ------
    WrongResult
        If a converted model's output is wrong, or a dense layer has no reason; names the cell.
    """
    torch.set_num_threads(options.threads)
    clock = timer(options)
    before = measure_floor(clock)
    rows = [row for name in options.models for row in _cells(name, options, clock)]
    print(file=sys.stderr)
    after = measure_floor(clock)
    moved = report.drift(before, after)
    return {
        "name": "never-slower",
        "title": "models before and after sparsify_",
        "formula": FORMULA,
        "rule": {
            "slower_below": THRESHOLD,
            "below_same_twice_by": MARGIN,
            "noisy_above": QUIET_CELL,
        },
        "date": datetime.now(UTC).date().isoformat(),
        "protocol": {
            "threads": options.threads,
            "pinned": pinned,
            "min_runs": options.min_runs,
            "min_seconds": options.min_seconds,
            "max_seconds": options.max_seconds,
            "seed": options.seed,
            "tolerance": TOLERANCE,
        },
        "machine": machine_facts(checkout()),
        "absent": {name: ["not asked for"] for name in MODELS if name not in options.models},
        "floor": {"before": before, "after": after, "drift": moved, "quiet": moved <= QUIET},
        "rows": rows,
        "summary": summary(rows),
    }


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the number of cells and of slower ones, the geometric mean and the worst cell."""
    worst = min(rows, key=lambda row: row["ratio"])
    return {
        "cells": len(rows),
        "slower": sum(row["slower"] for row in rows),
        "noisy": sum(row["noisy"] for row in rows),
        "below_one": sum(row["ratio"] < 1 for row in rows),
        "geometric_mean": math.exp(sum(math.log(row["ratio"]) for row in rows) / len(rows)),
        "worst": worst["ratio"],
        "worst_at": {key: worst[key] for key in ("model", "sparsity", "batch")},
        "most_noise": max(abs(math.log(row["same"])) for row in rows),
    }


def _cells(name: str, options: Options, clock: Timer) -> Iterator[dict[str, Any]]:
    subject = SUBJECTS[name]
    generator = torch.Generator().manual_seed(options.seed)
    model = seeded(subject.build, generator)
    drawn = subject.arguments(_CALIBRATED_ON, generator)
    for sparsity in options.sparsities:
        pruned = deepcopy(model)
        prune_(pruned, "uniform", sparsity, ())
        calibrate_(pruned, drawn if isinstance(drawn, tuple) else ())
        for batch in options.batches or subject.batches:
            example, fresh = (subject.arguments(batch, generator) for _ in range(2))
            try:
                found = measure_cell(pruned, example, fresh, clock, threads=options.threads)
            except WrongResult as error:
                msg = f"{name}, {sparsity:g} %, batch {batch}: {error}"
                raise WrongResult(msg) from error
            labels = {"model": name, "sparsity": sparsity, "batch": batch}
            yield {**labels, **found, "other_kinds": other_kinds(pruned)}
            print(".", end="", file=sys.stderr, flush=True)
