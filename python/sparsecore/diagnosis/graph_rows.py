"""How often an ONNX graph applies each weight, by the shapes that onnx infers from its input's."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from sparsecore.weight_files import WeightFiles

__all__ = ["graph_rows"]

_SAME = ("Identity", "Cast", "QuantizeLinear", "DequantizeLinear", "Transpose")
_CONVOLUTIONS = ("Conv", "FusedConv", "ConvInteger", "QLinearConv")


def graph_rows(files: WeightFiles, input_shape: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Return the rows of each call of the weights of an ONNX file.

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
    rows: dict[str, tuple[int, ...]] = {}
    origins = {name: name for name in files}
    for node in inferred.graph.node:
        _check_channels(files, node, shapes, input_shape)
        sources = [origins[name] for name in node.input if name in origins]
        if node.op_type in _SAME:
            origins.update((out, source) for out in node.output for source in sources)
            continue
        result = shapes.get(node.output[0]) if node.output else None
        for source in sources if result else ():
            if files[source].use is not None and result is not None:
                rows[source] = (*rows.get(source, ()), _rows(node.op_type, result))
    return rows


def _rows(operator: str, result: Sequence[int]) -> int:
    """Return how often an operator applied its weight, from the shape of its result."""
    if operator in _CONVOLUTIONS:
        return prod(result) // max(result[1], 1)
    return prod(result[:-1])


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
