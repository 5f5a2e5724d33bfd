"""Allocations compared at equal latency on the trained network: accuracy, and the measured time."""

import copy
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

import sparsecore as sc
from sparsecore.bench import report as reporting
from sparsecore.bench.e2e.engines import Workload, torch_engines
from sparsecore.bench.floor import measure_floor
from sparsecore.bench.run import QUIET, checkout
from sparsecore.bench.trained.finetune import Config, accuracy, finetune
from sparsecore.bench.trained.images import Images
from sparsecore.bench.trained.measure import agreement
from sparsecore.nn import LatencyTable, measure_layers
from sparsecore.pruning import allocation, prune_mask, scores
from sparsecore.timing import Timer, machine_facts

__all__ = ["allocations_at", "document", "least_sparse_within"]

Counts = Mapping[str, int]
_DENSE = "dense, folded, channels_last"


def document(
    dense: nn.Module,
    images: Images,
    clock: Timer,
    *,
    chooser: Timer | None,
    batches: Sequence[int],
    budgets: Sequence[float],
    epochs: int,
    protocol: Mapping[str, Any],
) -> dict[str, Any]:
    """Compare the allocations at each batch size and budget, and say what was measured on.

    Parameters
    ----------
    dense : torch.nn.Module
        The trained network.
    images : Images
    clock : callable
        As `sparsecore.timing.interleaved`; measures whole networks.
    chooser : callable, optional
        What layers are measured with, if not with the default.
    batches : sequence of int
        Numbers of images a call; each has a table of layer times of its own.
    budgets : sequence of float
        The sparsities whose uniform allocations' times are the budgets.
    epochs : int
        Of fine-tuning.
    protocol : mapping
        What else is to be said.
    """
    before = measure_floor(clock)
    tables: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    for batch in batches:
        table, channels_last = _table(dense, images.x_test[:batch], chooser, budgets)
        tables[str(batch)] = {"channels_last": channels_last} | json.loads(table.to_json())
        for budget in budgets:
            rows += _compare(dense, images, clock, chooser, table, batch, budget, epochs)
    after = measure_floor(clock)
    moved = reporting.drift(before, after)
    return {
        "name": "allocate",
        "title": "allocations of a trained ResNet-20 at equal latency",
        "images": str(images),
        "epochs": epochs,
        "accuracy_dense": accuracy(dense, images.x_test, images.y_test),
        "protocol": dict(protocol),
        "machine": machine_facts(checkout()),
        "floor": {"before": before, "after": after, "drift": moved, "quiet": moved <= QUIET},
        "tables": tables,
        "rows": rows,
    }


def least_sparse_within(
    allocate: Callable[[float], Counts],
    seconds: Callable[[Counts], float],
    budget: float,
    size: int,
) -> Counts | None:
    """Return the counts of the lowest sparsity whose time is within the budget, or None.

    Bisected over the number of kept weights of all `size`, 1 to all, in which times do not fall.
    """
    fits, too_many = 0, size + 1
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if seconds(allocate(1 - middle / size)) <= budget:
            fits = middle
        else:
            too_many = middle
    return allocate(1 - fits / size) if fits else None


def allocations_at(
    weights: Mapping[str, Tensor], table: LatencyTable, budget: float
) -> dict[str, Counts | None]:
    """Return each allocation's counts at a budget in seconds; None where it cannot be met."""
    times = {name: pairs for name, pairs in table.times().items() if name in weights}
    magnitudes, lamp = scores.magnitude(weights), scores.lamp(weights)
    searched: dict[str, Callable[[float], Counts]] = {
        "uniform": lambda sparsity: allocation.uniform(weights, sparsity),
        "ERK": lambda sparsity: allocation.erdos_renyi(weights, sparsity),
        "global magnitude": lambda sparsity: allocation.global_(magnitudes, sparsity),
        "LAMP": lambda sparsity: allocation.global_(lamp, sparsity),
    }
    size = sum(weight.numel() for weight in weights.values())

    def seconds(kept: Counts) -> float:
        return allocation.predicted_seconds(times, kept)

    found = {n: least_sparse_within(a, seconds, budget, size) for n, a in searched.items()}
    # The searched ones may go below the least measured counts, which the table calls no faster.
    squares = {name: magnitude.double() ** 2 for name, magnitude in magnitudes.items()}
    found["latency, squares"] = allocation.latency(squares, times, budget)
    found["latency, LAMP"] = allocation.latency(lamp, times, budget)
    return found


def _table(
    dense: nn.Module, x: Tensor, chooser: Timer | None, budgets: Sequence[float]
) -> tuple[LatencyTable, bool]:
    """Measure the layers in both memory orders; return the table of the faster one."""
    weights = _weights(dense)
    found = {}
    for channels_last in (False, True):
        table = measure_layers(dense, x, channels_last=channels_last, timer=chooser)
        times = table.times()
        sums = [
            allocation.predicted_seconds(times, allocation.uniform(weights, budget))
            for budget in budgets
        ]
        found[channels_last] = (math.fsum(sums), table)
    better = found[True][0] < found[False][0]
    return found[better][1], better


def _compare(
    dense: nn.Module,
    images: Images,
    clock: Timer,
    chooser: Timer | None,
    table: LatencyTable,
    batch: int,
    uniform: float,
    epochs: int,
) -> Iterator[dict[str, Any]]:
    """Compare at one budget: one row an allocation."""
    weights, times = _weights(dense), table.times()
    budget = allocation.predicted_seconds(times, allocation.uniform(weights, uniform))
    x = images.x_test[:batch].clone()
    rows: dict[str, dict[str, Any]] = {}
    contenders: dict[str, Callable[[], object]] = {}
    baseline = Workload(dense, (x,), (), torch.get_num_threads())
    contenders[_DENSE] = torch_engines.channels_last(baseline)
    for name, kept in allocations_at(weights, table, budget).items():
        print(f"batch {batch}, uniform {uniform:.0%}: {name}", file=sys.stderr)
        row = {"batch": batch, "budget": {"uniform": uniform, "seconds": budget}, "name": name}
        rows[name] = row | {"kept": kept and dict(kept)}
        if kept is None:
            continue
        model, quality = _pruned(dense, images, kept, epochs)
        masked = copy.deepcopy(model)
        made = sc.nn.sparsify_(model, x, policy="measured", trainable=False, timer=chooser)
        agreement(model, masked, images)
        contenders[name] = torch_engines.call_of(model, (x,))
        predicted = allocation.predicted_seconds(times, kept)
        rows[name] |= quality | {"predicted_seconds": predicted, "choices": made.choices}
    measured = clock(contenders)
    for name, row in rows.items():
        took = {n: asdict(measured[n]) for n in (name, _DENSE) if n in measured}
        yield row | {"seconds": took.get(name), "seconds_dense": took[_DENSE]}


def _pruned(
    dense: nn.Module, images: Images, kept: Counts, epochs: int
) -> tuple[nn.Module, dict[str, Any]]:
    """Prune to these counts by magnitude, at once; fine-tune; and say what is right of each."""
    size = sum(weight.numel() for weight in _weights(dense).values())
    sparsity = 1 - sum(kept.values()) / size
    at_once = _masked(dense, kept)

    def fixed(*_: object) -> Counts:
        return kept

    def tell(line: str) -> None:
        print(f"  {line}", file=sys.stderr)

    tuned = finetune(dense, images, Config(sparsity, epochs=epochs), tell, fixed)
    return tuned, {
        "sparsity": sparsity,
        "accuracy_at_once": accuracy(at_once, images.x_test, images.y_test),
        "accuracy_tuned": accuracy(tuned, images.x_test, images.y_test),
    }


def _masked(dense: nn.Module, kept: Counts) -> nn.Module:
    model = copy.deepcopy(dense).eval().requires_grad_(False)
    for name, weight in _weights(model).items():
        weight.masked_fill_(~prune_mask(weight.abs(), kept[name]), 0)
    return model


def _weights(model: nn.Module) -> dict[str, Tensor]:
    return {
        f"{name}.weight": module.weight.detach()
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }
