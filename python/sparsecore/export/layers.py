"""The layers of an ONNX file or a torch model that multiply by a weight."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from sparsecore.interop import Array
from sparsecore.weight_files import Entry, Use, WeightFiles, open_weights
from sparsecore.weight_files.onnx_tensors import graphs
from sparsecore.weight_files.onnx_uses import node_label
from sparsecore.weight_files.onnx_zeros import is_zero_known, nonzero_numbers

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Layer", "Weight", "layers_of"]

_OPERATORS = ("Conv", "Gemm", "MatMul")


@dataclass(frozen=True, slots=True)
class Weight:
    """A constant that a layer multiplies by.

    Attributes
    ----------
    name : str
    shape : tuple of int
    dtype : str
        numpy's or ml_dtypes' name.
    axis : int
        The one that is summed over; of a convolution that of the input channels.
    groups : int
        Of a convolution; else 1.
    read : callable
        Returns the numbers, as an array of that shape; of integers with a zero point whether each
        is another one.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    axis: int
    groups: int
    read: Callable[[], Array]


@dataclass(frozen=True, slots=True)
class Layer:
    """A node of a graph, or a module: "Conv", "Gemm", "MatMul" or torch's "Linear".

    Its weight is None where what it multiplies by is computed, or unknown.
    """

    name: str
    operator: str
    weight: Weight | None


def layers_of(path_or_model: object, *, caller: str) -> tuple[str, Iterator[Layer]]:
    """Return what is to be called the source, and the layers of a file or a model.

    Raises
    ------
    TypeError
        If it is neither; and what `open_weights` and `layers_of_file` raise.
    """
    if isinstance(path_or_model, str | os.PathLike):
        return str(path_or_model), layers_of_file(open_weights(Path(path_or_model)))
    kind = type(path_or_model).__name__
    if not callable(getattr(path_or_model, "named_modules", None)):
        msg = f"{caller}: path_or_model is a {kind}, expected a path or a torch.nn.Module"
        raise TypeError(msg)
    return kind, layers_of_model(cast("nn.Module", path_or_model))


def layers_of_file(weights: WeightFiles) -> Iterator[Layer]:
    """Yield every Conv, Gemm and MatMul of an ONNX file, in the order of its graphs.

    Raises
    ------
    ValueError
        If the file is of another kind, which has no graph, or calls functions of its own.
    """
    if weights.kind != "onnx":
        msg = f"{weights.path}: a {weights.kind} file has no graph, expected an ONNX file"
        raise ValueError(msg)
    model = weights.source.model
    nodes = [node for graph in graphs(model.graph) for node in graph.node]
    functions = {(function.domain, function.name) for function in model.functions}
    if any((node.domain, node.op_type) in functions for node in nodes):
        msg = (
            f"{weights.path}: the model calls functions of its own, whose layers are not seen: "
            "inline them first (onnx.inliner.inline_local_functions)"
        )
        raise ValueError(msg)
    used: dict[str, tuple[Entry, Use]] = {}
    for entry in weights.values():
        for use in (entry.use, *entry.other_uses):
            if use is not None:
                used.setdefault(use.node, (entry, use))
    for node in nodes:
        if node.op_type in _OPERATORS:
            name = node_label(node)
            found = used.get(name)
            is_constant = found is not None and is_zero_known(weights, found[0])
            weight = _weight_of_file(weights, *found) if found and is_constant else None
            yield Layer(name, node.op_type, weight)


def layers_of_model(model: nn.Module) -> Iterator[Layer]:
    """Yield every linear layer and convolution of a torch model, sparse ones as dense ones."""
    from torch import nn

    from sparsecore.export.dense_copy import dense_copy

    for name, module in dense_copy(model).named_modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            operator = "Linear" if isinstance(module, nn.Linear) else "Conv"
            yield Layer(name, operator, _weight_of_module(name, module))


def _weight_of_file(weights: WeightFiles, entry: Entry, use: Use) -> Weight:
    return Weight(
        entry.name,
        entry.shape,
        entry.dtype,
        use.reduction_axis,
        use.groups,
        lambda: _numbers(weights, entry),
    )


def _numbers(weights: WeightFiles, entry: Entry) -> Array:
    numbers = nonzero_numbers(weights, entry)
    assert numbers is not None  # else it is none of the layer's weights
    return numbers


def _weight_of_module(name: str, module: nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d) -> Weight:
    from sparsecore.export.graph import numbers_of

    weight = module.weight
    return Weight(
        f"{name}.weight" if name else "weight",
        tuple(weight.shape),
        str(weight.dtype).removeprefix("torch."),
        1,
        getattr(module, "groups", 1),
        lambda: numbers_of(weight),
    )
