"""The demo's models written to files, and converted for the batch sizes they will run at."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import click
import torch
from torch import nn

from sparsecore.cli import demo_files, demo_model
from sparsecore.cli.demo_data import Dataset
from sparsecore.cli.demo_files import Choices
from sparsecore.cli.demo_model import Recipe
from sparsecore.cli.demo_results import Stored
from sparsecore.cli.stages import Tick
from sparsecore.nn import Report, sparsify_
from sparsecore.timing import Timer

__all__ = ["Converted", "Models", "convert", "store"]

Models: TypeAlias = Mapping[str, nn.Sequential]
"""With dense weights, pruned ones zero; by their names in files."""

Converted: TypeAlias = Mapping[tuple[str, int], tuple[nn.Sequential, Report]]
"""By the model's name and the batch it was converted for."""


def store(models: Models, data: Dataset, recipe: Recipe, folder: Path) -> Mapping[str, Stored]:
    """Write each model with every pruned layer sparse, read it back, and compare.

    Raises
    ------
    click.ClickException
        If a model read back does not give the same bits for every test image.
    """
    stored = {}
    for key, model in models.items():
        compact = copy.deepcopy(model)
        report = sparsify_(compact, torch.from_numpy(data.test_x), policy="always")
        path = folder / f"{key}.safetensors"
        disk_bytes = demo_files.save_model(path, compact, report.choices)
        loaded = demo_files.load_model(path, recipe.widths)
        if not demo_files.same_outputs(loaded, compact, data.test_x):
            msg = f"{path}: the model read from it gives other outputs than the one written"
            raise click.ClickException(msg)
        stored[key] = Stored(
            accuracy=demo_model.accuracy(loaded, data.test_x, data.test_y),
            parameters=demo_model.nonzeros(model),
            disk_bytes=disk_bytes,
            memory_bytes=report.bytes_after,
        )
    return stored


def convert(
    models: Models,
    data: Dataset,
    batches: Sequence[int],
    given: Choices,
    timer: Timer,
    tick: Tick,
) -> Converted:
    """Convert a copy of each model for each batch size, as given or else as measured.

    Raises
    ------
    click.ClickException
        If a given choice cannot be carried out.
    """
    converted = {}
    for key, batch in ((key, batch) for key in models for batch in batches):
        model = copy.deepcopy(models[key])
        try:
            report = sparsify_(
                model,
                torch.from_numpy(data.test_x[:batch]),
                policy=given.get((key, batch), "measured"),
                trainable=False,
                progress=lambda *_: tick(),
                timer=timer,
            )
        except ValueError as error:
            if not given:
                raise
            msg = f"the choices do not fit {key} at batch {batch}: {error}"
            raise click.ClickException(msg) from error
        converted[key, batch] = model, report
    return converted
