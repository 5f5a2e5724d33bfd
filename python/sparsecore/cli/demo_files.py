"""The demo's files: models as safetensors, and the choices of a run, to be replayed."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from sparsecore.cli.demo_data import Array
from sparsecore.cli.demo_model import linears, mlp
from sparsecore.nn import CSRLinear, Sparse24Linear, load_choices, save_choices
from sparsecore.nn.report import Format

__all__ = ["Choices", "load_model", "load_run", "same_outputs", "save_model", "save_run"]

Choices: TypeAlias = Mapping[tuple[str, int], Mapping[str, Format]]
"""The formats of a model's layers, by the model's name and the batch it was converted for."""

_SPARSE: Mapping[Format, type[CSRLinear | Sparse24Linear]] = {
    "csr": CSRLinear,
    "2:4": Sparse24Linear,
}


# ---- models ----


def save_model(path: Path, model: nn.Module, formats: Mapping[str, Format]) -> int:
    """Write a model's state_dict, and its formats next to it; return the first file's bytes.

    Parameters
    ----------
    path : Path
        Of the safetensors file. The formats go beside it, with the suffix ``.json``.
    model : torch.nn.Module
    formats : mapping of str to {"dense", "csr", "2:4"}
        What its linear layers have become.
    """
    save_file(model.state_dict(), path)
    save_choices(path.with_suffix(".json"), formats)
    return path.stat().st_size


def load_model(path: Path, widths: Sequence[int]) -> nn.Sequential:
    """Build a new network from the two files that :func:`save_model` wrote."""
    model = mlp(widths)
    layers = linears(model)
    for name, form in load_choices(path.with_suffix(".json")).items():
        if form != "dense":
            layer = layers[name]
            sparse = _SPARSE[form](layer.in_features, layer.out_features)
            model.register_module(name, sparse)
    model.load_state_dict(load_file(path))
    return model.eval()


@torch.no_grad()
def same_outputs(model: nn.Module, other: nn.Module, x: Array) -> bool:
    """Return whether two models give the same bits for every row of `x`."""
    inputs = torch.from_numpy(x)
    return torch.equal(model(inputs), other(inputs))


# ---- the choices of a run ----


def save_run(path: Path, choices: Choices) -> None:
    """Write all choices of a run as one JSON object, ``model/batch-N/layer`` to format."""
    flat = {
        _key(model, batch, layer): form
        for (model, batch), formats in choices.items()
        for layer, form in formats.items()
    }
    save_choices(path, flat)


def load_run(
    path: Path, models: Iterable[str], batches: Sequence[int], layers: Sequence[str]
) -> Choices:
    """Read what :func:`save_run` wrote, for these models, batches and layers.

    Raises
    ------
    ValueError
        If the file cannot be read, or a choice is missing, unknown or too much.
    """
    try:
        flat = load_choices(path)
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}"
        raise ValueError(msg) from error
    runs = [(model, batch) for model in models for batch in batches]
    expected = {_key(*run, layer) for run in runs for layer in layers}
    for kind, keys in (("lacks", expected - set(flat)), ("has the unknown", set(flat) - expected)):
        if keys:
            msg = f"{path} {kind} {min(keys)!r}: it is of a run with other data or layers"
            raise ValueError(msg)
    return {run: {layer: flat[_key(*run, layer)] for layer in layers} for run in runs}


def _key(model: str, batch: int, layer: str) -> str:
    return f"{model}/batch-{batch}/{layer}"
