"""Small ONNX models, made node by node; imported where onnx is installed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper, numpy_helper

from oracle import Array

node = helper.make_node


def model(
    nodes: Iterable[Any],
    tensors: Mapping[str, Array | Any],
    *,
    inputs: Mapping[str, tuple[Any, ...]] | None = None,
    outputs: Iterable[str] = ("y",),
) -> Any:
    """Return a model of opset 17; a tensor is an array, or a message of its own."""
    protos = [
        tensor if isinstance(tensor, TensorProto) else numpy_helper.from_array(tensor, name)
        for name, tensor in tensors.items()
    ]
    takes = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (inputs or {"x": (None, None)}).items()
    ]
    gives = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs]
    graph = helper.make_graph(list(nodes), "graph", takes, gives, protos)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def graph(nodes: Iterable[Any], tensors: Mapping[str, Array], output: str) -> Any:
    """Return a graph to put into a node: without inputs, with one output."""
    protos = [numpy_helper.from_array(array, name) for name, array in tensors.items()]
    gives = [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)]
    return helper.make_graph(list(nodes), "inner", [], gives, protos)


def saved(path: Path, content: Any, *, external: str | None = None) -> Path:
    """Save a model, its tensors in a file beside it where `external` names one."""
    if external is None:
        onnx.save(content, path)
    else:
        onnx.save(content, path, save_as_external_data=True, location=external, size_threshold=0)
    return path
