"""The demo from beginning to end: data, training, pruning, files, measurements, report."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import torch
from rich.console import Console
from torch import nn

from sparsecore import cpu, timing
from sparsecore.cli import demo_data, demo_files, demo_measure, demo_model, demo_plot, demo_tables
from sparsecore.cli.demo_convert import Converted, Models, convert, store
from sparsecore.cli.demo_data import Dataset
from sparsecore.cli.demo_files import Choices
from sparsecore.cli.demo_measure import Curve
from sparsecore.cli.demo_model import Recipe
from sparsecore.cli.demo_results import (
    Results,
    Stored,
    Variant,
    against_breakeven,
    disturbances,
    reasons_for_all_dense,
)
from sparsecore.cli.stages import Stages
from sparsecore.nn.thread_count import using_threads

__all__ = ["Settings", "run"]

_BATCHES = (1, 64)
_CLASSES = 10
_PRUNED = {"pruned-90": "90%", "pruned-24": "2:4"}
_TITLES = {"dense": "dense", **_PRUNED}
_PICTURE, _RESULTS, _CHOICES = "latency-by-density.png", "results.json", "choices.json"
_WIDTH_WITHOUT_TERMINAL = 100


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of a run; without `data_dir` the data are scikit-learn's digits."""

    data_dir: Path | None
    hidden: tuple[int, ...]
    epochs: int
    seed: int
    # The least that one measurement takes.
    seconds: float
    choices: Path | None
    output: Path
    # Of torch and sparsecore; None for what torch has.
    threads: int | None


def run(settings: Settings) -> None:
    """Do what the options say; print and write what was found.

    Raises
    ------
    click.ClickException
        If the data, the choices or the output folder cannot be used.
    """
    data, recipe, given = _inputs(settings)
    with using_threads(settings.threads, name="--threads"):
        results = _results(data, recipe, given, settings)
        _write(results, settings.output)  # with the facts of the machine, threads among them
    _print(results, settings.output)


def _results(data: Dataset, recipe: Recipe, given: Choices, settings: Settings) -> Results:
    """Train, prune, convert and measure."""
    with Stages(Console(stderr=True)) as stages:
        models = _train(data, recipe, stages)
        stored = store(models, data, recipe, settings.output)
        converted = _convert(models, data, given, settings, stages)
        latency = _latency(models["dense"], converted, data, settings, stages)
        curve = _curve(models["dense"], settings, stages)
    return Results(
        data=data.name,
        widths=recipe.widths,
        test_images=len(data.test_y),
        seed=recipe.seed,
        threads=torch.get_num_threads(),
        target=cpu.target(),
        variants=tuple(
            _variant(key, models[key], stored[key], latency, converted) for key in _TITLES
        ),
        curve=curve,
    )


def _inputs(settings: Settings) -> tuple[Dataset, Recipe, Choices]:
    """Read everything that may be wrong before anything takes long."""
    folder = settings.data_dir
    try:
        data = demo_data.digits() if folder is None else demo_data.mnist(folder)
        widths = (data.train_x.shape[1], *settings.hidden, _CLASSES)
        recipe = Recipe(widths, settings.epochs, settings.seed)
        given: Choices = {}
        if settings.choices is not None:
            given = demo_files.load_run(settings.choices, _PRUNED, _BATCHES, recipe.layers)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    try:
        settings.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"{settings.output} cannot be made: {error.strerror}"
        raise click.ClickException(msg) from error
    return data, recipe, given


# ---- the models ----


def _train(data: Dataset, recipe: Recipe, stages: Stages) -> Models:
    tick = stages.begin("train the dense network", recipe.epochs)
    dense = demo_model.train_dense(data, recipe, tick)
    tick = stages.begin("prune it to 90% while fine-tuning", recipe.epochs)
    unstructured = demo_model.prune_unstructured(dense, data, recipe, tick)
    tick = stages.begin("prune it to 2:4 instead, fine-tune", recipe.short_epochs)
    two_of_four = demo_model.prune_24(dense, data, recipe, tick)
    return {"dense": dense, "pruned-90": unstructured, "pruned-24": two_of_four}


def _convert(
    models: Models, data: Dataset, given: Choices, settings: Settings, stages: Stages
) -> Converted:
    pruned = {key: models[key] for key in _PRUNED}
    steps = len(demo_model.linears(models["dense"])) + 1
    parts = steps * len(pruned) * len(_BATCHES)
    tick = stages.begin("convert, measuring every layer", parts)
    return convert(pruned, data, _BATCHES, given, _timer(settings), tick)


# ---- the measurements ----


def _timer(settings: Settings, contenders: int = 1) -> timing.Timer:
    return partial(timing.interleaved, min_seconds=settings.seconds * contenders)


def _latency(
    dense: nn.Sequential,
    converted: Converted,
    data: Dataset,
    settings: Settings,
    stages: Stages,
) -> Mapping[int, Mapping[str, timing.Timing]]:
    """Measure the models against each other, for each batch size."""
    tick = stages.begin("measure the models in turns", len(_BATCHES))
    latency = {}
    for batch in _BATCHES:
        models = {"dense": dense, **{key: converted[key, batch][0] for key in _PRUNED}}
        timer = _timer(settings, len(models))
        latency[batch] = demo_measure.latencies(models, data.test_x[:batch], timer)
        tick()
    return latency


def _curve(dense: nn.Sequential, settings: Settings, stages: Stages) -> Curve:
    """Measure the largest layer at many densities, for the larger batch."""
    layers = demo_model.linears(dense)
    name = max(layers, key=lambda name: layers[name].weight.numel())
    tick = stages.begin(f"measure {name} against its density", 1)
    timer = _timer(settings, len(demo_measure.DENSITIES))
    curve = demo_measure.density_curve(name, layers[name], max(_BATCHES), timer)
    tick()
    return curve


# ---- the report ----


def _variant(
    key: str,
    model: nn.Module,
    stored: Stored,
    latency: Mapping[int, Mapping[str, timing.Timing]],
    converted: Converted,
) -> Variant:
    return Variant(
        key=key,
        title=_TITLES[key],
        densities=demo_model.densities(model),
        stored=stored,
        latency={batch: latency[batch][key] for batch in _BATCHES},
        reports={b: report for (k, b), (_, report) in converted.items() if k == key},
    )


def _write(results: Results, folder: Path) -> None:
    found = {**results.to_dict(), "machine": timing.machine_facts()}
    text = json.dumps(found, indent=2)
    (folder / _RESULTS).write_text(text + "\n", encoding="utf-8")
    choices = {
        (v.key, b): report.choices for v in results.variants for b, report in v.reports.items()
    }
    demo_files.save_run(folder / _CHOICES, choices)
    demo_plot.plot_curve(
        folder / _PICTURE,
        results.curve,
        network=results.data,
        threads=results.threads,
    )


def _print(results: Results, folder: Path) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH_WITHOUT_TERMINAL)
    for table in (demo_tables.model_table(results), *demo_tables.layer_tables(results)):
        console.print(table, "")
    by_key = {variant.key: variant for variant in results.variants}
    lines = [
        against_breakeven(results.curve, by_key["pruned-90"]),
        *(line for key in _PRUNED for line in reasons_for_all_dense(by_key[key])),
        *disturbances(results.variants),
        f"Each model was read from its file into a new network: all {results.test_images:,} test "
        "outputs are equal, bit for bit.",
        f"Written to {folder}: the models (*.safetensors), {_PICTURE}, {_RESULTS} and {_CHOICES}.",
        f"To run it again with the same formats: --choices {folder / _CHOICES}",
    ]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
