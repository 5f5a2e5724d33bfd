"""How often an ONNX graph applies each weight, by the shapes that onnx infers from its input's."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from sparsecore.weight_files import Use, WeightFiles

__all__ = ["graph_rows"]

_CONVOLUTIONS = ("Conv", "FusedConv", "ConvInteger", "QLinearConv")
_RECURRENT = ("LSTM", "GRU", "RNN")


def graph_rows(files: WeightFiles, input_shape: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Return the rows of each call of the weights of an ONNX file, of those where all are known.

    Parameters
    ----------
    files : WeightFiles
        Of an ONNX file.
    input_shape : sequence of int
        Of the graph's only input that no weight gives.

    Raises
    ------
    ValueError
        Where the graph has several inputs, or one of another number of axes, or onnx finds that
        the shape does not fit.
    """
    import onnx

    model = onnx.ModelProto()
    model.CopyFrom(files.source.model)
    _set_input(files, model.graph, input_shape)
    try:
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as fault:
        msg = f"{files.path}: input_shape is {tuple(input_shape)}, which does not fit: {fault}"
        raise ValueError(msg) from fault
    shapes = dict(_known(inferred.graph))
    for node in inferred.graph.node:
        _check_channels(files, node, shapes, input_shape)
    rows: dict[str, tuple[int, ...]] = {}
    for name, entry in files.items():
        uses = [use for use in (entry.use, *entry.other_uses) if use is not None]
        calls = [_rows(use, entry.shape, shapes.get(use.result)) for use in uses]
        known = tuple(call for call in calls if call is not None)
        if known and len(known) == len(calls):
            rows[name] = known
    return rows


def _rows(use: Use, shape: Sequence[int], result: Sequence[int] | None) -> int | None:
    """Return how often an operator applied its weight: its multiplications, by those of one time.

    None where the shape of its result is not known, or does not tell.
    """
    if result is None or not prod(shape) or use.operator == "ConvTranspose":
        return None
    if use.operator in _RECURRENT:  # the result's last axis is that of one direction's outputs
        return prod(result[:-1]) // shape[0]
    is_convolution = use.operator in _CONVOLUTIONS
    summed = prod(shape[1:]) if is_convolution else shape[use.reduction_axis]
    return prod(result) * summed // prod(shape)


def _check_channels(
    files: WeightFiles,
    node: Any,
    shapes: Mapping[str, tuple[int, ...]],
    input_shape: Sequence[int],
) -> None:
    """Raise where a convolution has other channels than its input, which onnx does not look at."""
    if node.op_type not in ("Conv", "FusedConv") or node.input[1] not in files:
        return
    image, entry = shapes.get(node.input[0]), files[node.input[1]]
    if image is None or entry.use is None or len(image) < 2:
        return
    channels = entry.shape[1] * entry.use.groups
    if image[1] != channels:
        msg = (
            f"{files.path}: input_shape is {tuple(input_shape)}, but the convolution by "
            f"{node.input[1]!r} then gets {image[1]} channels where {channels} are expected"
        )
        raise ValueError(msg)


def _set_input(files: WeightFiles, graph: Any, shape: Sequence[int]) -> None:
    given = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in given]
    if len(inputs) != 1:
        names = ", ".join(repr(value.name) for value in inputs)
        msg = f"{files.path}: has the inputs {names}, and input_shape is for one"
        raise ValueError(msg)
    dims = inputs[0].type.tensor_type.shape.dim
    if len(dims) != len(shape):
        msg = (
            f"{files.path}: input_shape is {tuple(shape)}, but {inputs[0].name!r} has "
            f"{len(dims)} axes"
        )
        raise ValueError(msg)
    for dim, length in zip(dims, shape, strict=True):
        dim.Clear()
        dim.dim_value = length
    # What was written for another shape would contradict this one.
    del graph.value_info[:]
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")


def _known(graph: Any) -> Mapping[str, tuple[int, ...]]:
    """Return the shapes of values all of whose lengths are known."""
    found = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dims):
            found[value.name] = tuple(d.dim_value for d in dims)
    return found
