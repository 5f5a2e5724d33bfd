"""Which layers TensorRT could run with 2:4 weights, and which it says that it does."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from sparsecore.export.build_log import BuildLog, nodes_of, read_build_log
from sparsecore.export.eligibility import Eligibility, LayerEligibility
from sparsecore.export.judging import judge
from sparsecore.export.layers import layers_of

if TYPE_CHECKING:
    from torch import nn

__all__ = ["tensorrt_eligibility"]

_NOT_RUN = (
    "TensorRT itself was not run: this is what its guide asks of weights. Which kernels run is "
    "decided by time when it builds the engine."
)
_PRUNE_MODEL = "sc.pruning.prune(model, 0.5, pattern=sc.pruning.NM(2, 4, axis=1))"
_PRUNE_FILE = "sparsecore prune IN.onnx OUT.onnx --pattern 2:4"


def tensorrt_eligibility(
    path_or_model: str | os.PathLike[str] | nn.Module,
    *,
    log: str | os.PathLike[str] | BuildLog | None = None,
) -> Eligibility:
    """Say of each layer whether TensorRT can use 2:4 sparsity for it, or why not.

    TensorRT is not run. What it asks of weights is checked: of every four input channels of each
    output and each pixel of a kernel, two at least are zero. It then measures a sparse kernel
    against dense ones, and takes the faster.

    Parameters
    ----------
    path_or_model : path or torch.nn.Module
        An ONNX file (needs the package onnx), or a model: its linear layers and convolutions,
        sparse ones as dense ones. What a module multiplies by itself, as attention's
        ``in_proj_weight``, is seen in a file only.
    log : path or BuildLog, optional
        Of the build from this file, as ``trtexec --sparsity=enable --verbose`` writes it: says
        which layers run sparse, and which were eligible and run dense.

    Returns
    -------
    Eligibility
        ``print(result)`` shows a table.

    Raises
    ------
    ValueError
        If the file is no ONNX file or not whole, or the log says nothing of sparsity.
    ModuleNotFoundError
        If the package onnx is missing (extra ``export``).
    OSError
        If a file cannot be read.

    References
    ----------
    NVIDIA TensorRT Developer Guide, "Structured Sparsity": the requirement, and the lines of the
    log. Pool et al., "Accelerating Inference with Sparsity Using the NVIDIA Ampere Architecture and
    NVIDIA TensorRT", NVIDIA Technical Blog, 2021: ``trtexec --sparsity=enable``, and a run of both.
    github.com/NVIDIA/TensorRT, issues 2169 and 4056 (MatMul), 3849 and 4065 (channels).

    Examples
    --------
    >>> import torch
    >>> import sparsecore as sc
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(8, 8, 3), torch.nn.Conv2d(8, 8, 3))
    >>> masks = sc.pruning.prune(model[0], 0.5, pattern=sc.pruning.NM(2, 4, axis=1))
    >>> for layer in tensorrt_eligibility(model).layers:
    ...     print(layer.name, layer.verdict, layer.share)
    0 eligible 1.0
    1 not eligible 0.0
    """
    source, layers = layers_of(path_or_model, caller="tensorrt_eligibility")
    judged = tuple(LayerEligibility.of(layer, judge(layer)) for layer in layers)
    found = Eligibility(
        "tensorrt",
        source,
        _note(judged, is_model=not isinstance(path_or_model, str | os.PathLike)),
        judged,
    )
    if log is None:
        return found
    return _with_log(found, log if isinstance(log, BuildLog) else read_build_log(log))


def _note(layers: tuple[LayerEligibility, ...], *, is_model: bool) -> str:
    """Say what was not done, and where a layer lacks the pattern how to give it."""
    if all(layer.share is None or layer.share == 1 for layer in layers):
        return _NOT_RUN
    return f"{_NOT_RUN} To prune weights so: {_PRUNE_MODEL if is_model else _PRUNE_FILE}."


def _with_log(found: Eligibility, log: BuildLog) -> Eligibility:
    """Say of each layer what a log says of it."""
    eligible, picked = _nodes(log.eligible), _nodes(log.picked)
    marked = tuple(
        replace(
            layer,
            logged_eligible=None if eligible is None else layer.name in eligible,
            picked=None if picked is None else layer.name in picked,
        )
        for layer in found.layers
    )
    known = {layer.name for layer in found.layers}
    logged = dict.fromkeys((*(log.eligible or ()), *(log.picked or ())))
    unmatched = tuple(name for name in logged if known.isdisjoint(nodes_of(name)))
    return replace(found, layers=marked, log=log, unmatched=unmatched)


def _nodes(names: Iterable[str] | None) -> set[str] | None:
    return None if names is None else {node for name in names for node in nodes_of(name)}
