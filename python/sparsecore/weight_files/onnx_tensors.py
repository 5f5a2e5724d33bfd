"""The tensors of an ONNX graph: where each lies, and reading one.

What a tensor claims is compared with the bytes that are there before any are read. External data
(https://onnx.ai/onnx/repo-docs/ExternalData.html) have to lie in the model's own folder.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sparsecore.files.tensor_reading import DTYPES
from sparsecore.interop import Array

__all__ = ["External", "Tensor", "find_tensors", "graphs", "read_tensor"]

# By the names of onnx.TensorProto.DataType.
_NAMES = {
    "FLOAT": "float32",
    "DOUBLE": "float64",
    "FLOAT8E4M3FN": "float8_e4m3fn",
    "FLOAT8E5M2": "float8_e5m2",
}
_READ = {dtype.name: dtype for dtype in DTYPES.values()}
# Of TensorProto, where a tensor has no raw data.
_FIELDS = {
    "float32": "float_data",
    "float64": "double_data",
    "int64": "int64_data",
    "uint32": "uint64_data",
    "uint64": "uint64_data",
}


@dataclass(frozen=True, slots=True)
class External:
    """Where a tensor's bytes lie outside of the model's file."""

    path: Path
    offset: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor: what its message says, and how many bytes it has.

    Attributes
    ----------
    proto : onnx.TensorProto
    shape : tuple of int
    dtype : str
        numpy's name, or in lower case ONNX's own where numpy and ml_dtypes have none.
    nbytes : int
    external : External or None
        None where the model's file has the bytes.
    is_sparse : bool
        Whether `proto` are the values of a sparse tensor, which is listed and not read.
    """

    proto: Any
    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    external: External | None
    is_sparse: bool = False


def graphs(graph: Any) -> Iterator[Any]:
    """Yield a graph, then those of the branches and loops in it."""
    yield graph
    for node in graph.node:
        for inner in subgraphs(node):
            yield from graphs(inner)


def subgraphs(node: Any) -> Iterator[Any]:
    """Yield the graphs that a node has: the branches of an If, the body of a Loop."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def find_tensors(onnx: Any, model: Any, folder: Path) -> dict[str, Tensor]:
    """Return the initializers of all graphs by name, and constants of two axes or data outside.

    Raises
    ------
    ValueError
        Where a name is there twice, or a tensor does not have the bytes that it claims.
    """
    found: dict[str, Tensor] = {}
    for graph in graphs(model.graph):
        for name, proto in _protos(graph):
            if not name or not isinstance(name, str):  # bytes, where they are no UTF-8
                msg = f"a tensor has no name, or none that is text: {name!r:.80}"
                raise ValueError(msg)
            if name in found:
                msg = f"two tensors are called {name!r}"
                raise ValueError(msg)
            found[name] = _tensor(onnx, name, proto, folder)
        for sparse in graph.sparse_initializer:
            name, values = sparse.values.name, _tensor(onnx, "", sparse.values, folder)
            if not isinstance(name, str) or name in found:
                msg = f"two tensors are called {name!r:.80}"
                raise ValueError(msg)
            found[name] = replace(values, shape=tuple(sparse.dims), is_sparse=True)
    return found


def _protos(graph: Any) -> Iterator[tuple[str, Any]]:
    for proto in graph.initializer:
        yield proto.name, proto
    for node in graph.node:
        if node.op_type == "Constant" and len(node.output) == 1:
            for attribute in node.attribute:
                tensor = attribute.t
                if attribute.name == "value" and (len(tensor.dims) > 1 or tensor.external_data):
                    yield node.output[0], tensor


def _tensor(onnx: Any, name: str, proto: Any, folder: Path) -> Tensor:
    shape = tuple(proto.dims)
    if min(shape, default=0) < 0 or proto.HasField("segment"):
        msg = f"tensor {name!r} has shape {shape}{' and segments' * proto.HasField('segment')}"
        raise ValueError(msg)
    try:
        word = onnx.TensorProto.DataType.Name(proto.data_type)
    except ValueError:
        word = f"type {proto.data_type}"
    dtype = _NAMES.get(word, word.lower())
    external = None
    if proto.data_location == onnx.TensorProto.EXTERNAL:
        external, held = _external(name, proto, folder)
    else:
        held = _inline_bytes(proto, dtype)
    if dtype in _READ:
        needed = math.prod(shape) * _READ[dtype].itemsize
        if external is not None and "length" not in _keys(proto) and needed <= held:
            held = needed
        if held != needed:
            msg = f"tensor {name!r} of shape {shape} takes {needed} bytes of {dtype}, it has {held}"
            raise ValueError(msg)
    return Tensor(proto, shape, dtype, held, external)


def _inline_bytes(proto: Any, dtype: str) -> int:
    if proto.HasField("raw_data"):
        return len(proto.raw_data)
    count = len(getattr(proto, _FIELDS.get(dtype, "int32_data")))
    return count * _READ[dtype].itemsize if dtype in _READ else 0


def _keys(proto: Any) -> dict[str, str]:
    return {entry.key: entry.value for entry in proto.external_data}


def _external(name: str, proto: Any, folder: Path) -> tuple[External, int]:
    """Return where a tensor's bytes lie, and how many it says that it has there."""
    keys = _keys(proto)
    location = keys.get("location", "")
    path = folder / location
    if not location or not path.resolve().is_relative_to(folder.resolve()):
        msg = f"the data of tensor {name!r} are in {location!r:.80}, expected a file in its folder"
        raise ValueError(msg)
    if not path.is_file():
        msg = f"the file {location!r:.80}, which has the data of tensor {name!r}, is not there"
        raise ValueError(msg)
    offset, size = _natural(name, keys.get("offset", "0")), path.stat().st_size
    length = _natural(name, keys.get("length", str(max(size - offset, 0))))
    if offset + length > size:
        msg = (
            f"the data of tensor {name!r} are bytes {offset} to {offset + length} of {location!r}, "
            f"which has {size}"
        )
        raise ValueError(msg)
    return External(path, offset), length


def _natural(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        msg = f"the place of the data of tensor {name!r} is {text!r:.40}, expected a number"
        raise ValueError(msg)
    return int(text)


def read_tensor(onnx: Any, tensor: Tensor) -> Array:
    """Read a tensor of a dtype that numpy or ml_dtypes has, into memory of its own."""
    if tensor.is_sparse:
        msg = f"{tensor.proto.name!r} is stored as a sparse tensor, which is not read"
        raise ValueError(msg)
    dtype = _READ[tensor.dtype]
    if tensor.external is None:
        # Older versions return bfloat16 and float8 widened to float32.
        return np.array(onnx.numpy_helper.to_array(tensor.proto), dtype=dtype)
    path, offset = tensor.external.path, tensor.external.offset
    content = np.fromfile(path, np.uint8, tensor.nbytes, offset=offset)
    if content.size != tensor.nbytes:
        msg = f"{path} ended within tensor {tensor.proto.name!r}"
        raise ValueError(msg)
    little = content.view(dtype.newbyteorder("<")).reshape(tensor.shape)
    return little.astype(dtype, copy=False)
