"""Runtimes that multiply by zeros as by any number: onnxruntime and OpenVINO."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from sparsecore.export.eligibility import Eligibility, LayerEligibility
from sparsecore.export.judging import Judgement, without_weight
from sparsecore.export.layers import Layer, layers_of

if TYPE_CHECKING:
    from torch import nn

__all__ = ["ENGINES", "dense_engine_eligibility"]

# By the name of the target: what it is called, and what it has for zeros after all.
ENGINES: Mapping[str, tuple[str, str]] = {
    "onnxruntime": (
        "onnxruntime",
        "Its kernels are dense. Remove whole channels (sc.nn.shrink_), or run sparse layers "
        "(sc.nn.sparsify_).",
    ),
    "openvino": (
        "OpenVINO",
        "Its kernels are dense. Its CPU plugin can keep sparse int8 weights of products smaller in "
        "memory, on processors with AMX (CPU_SPARSE_WEIGHTS_DECOMPRESSION_RATE); that was not "
        "tried here.",
    ),
}


def dense_engine_eligibility(
    path_or_model: str | os.PathLike[str] | nn.Module, engine: str
) -> Eligibility:
    """Say of each layer how many zeros such a runtime multiplies by.

    Parameters
    ----------
    path_or_model : path or torch.nn.Module
        As in `tensorrt_eligibility`.
    engine : {"onnxruntime", "openvino"}

    Raises
    ------
    ValueError
        If there is no such engine, or the file is no ONNX file or not whole.

    Examples
    --------
    >>> import torch
    >>> layer = torch.nn.Linear(4, 4)
    >>> with torch.no_grad():
    ...     _ = layer.weight[:, ::2].zero_()
    >>> print(dense_engine_eligibility(layer, "onnxruntime").layers[0].why)
    50.0% of it is zero, and onnxruntime multiplies by each
    """
    if engine not in ENGINES:
        msg = f"dense_engine_eligibility: engine is {engine!r}, expected one of {sorted(ENGINES)}"
        raise ValueError(msg)
    name, note = ENGINES[engine]
    source, layers = layers_of(path_or_model, caller="dense_engine_eligibility")
    judged = tuple(LayerEligibility.of(layer, _judgement(layer, name)) for layer in layers)
    return Eligibility(engine, source, f"{name} itself was not run. {note}", judged)


def _judgement(layer: Layer, engine: str) -> Judgement:
    if layer.weight is None:
        return without_weight(layer)
    weight = layer.weight.read()
    zeros = 1 - np.count_nonzero(weight) / max(weight.size, 1)
    return Judgement("not eligible", f"{zeros:.1%} of it is zero, and {engine} multiplies by each")
