"""Weights put back into an ONNX graph: the same model with other numbers.

External data stay external: those of all tensors go to one new file beside the model's, NAME.data
or that with a tag, each at a multiple of a page, so that they can be mapped. The model is exchanged
last, and then the data of an older one go.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sparsecore.files.complete import complete_or_absent
from sparsecore.files.replacing import data_beside, unused_data
from sparsecore.interop import Array
from sparsecore.weight_files.from_onnx import OnnxFile
from sparsecore.weight_files.onnx_tensors import Tensor
from sparsecore.weight_files.plan import Plan, bytes_text, unchanged
from sparsecore.weight_files.weights import WeightFiles

__all__ = ["into_graph", "plan_onnx"]

_PAGE = 4096
_COPIED = 1 << 24

_NONE = (
    "none of that name: where its exporter folded BatchNorms into the weights, theirs are other "
    "numbers under the same names, and what is pruned is the ONNX file itself (sparsecore prune)"
)


def plan_onnx(weights: WeightFiles, target: Path) -> Plan:
    """Plan the graph that the weights come from, with those that were replaced.

    Raises
    ------
    ValueError
        Where they come from none.
    """
    source = weights.source
    if not isinstance(source, OnnxFile):
        msg = f"{target}: an ONNX model needs its graph: sparsecore convert --into GRAPH"
        raise ValueError(msg)
    gone = data_beside(target)
    for file in source.data_files:
        if any(older.samefile(file) for older in gone):
            msg = f"{file}: is to be replaced, but has data of {weights.path}"
            raise ValueError(msg)

    def write() -> str:
        return bytes_text(_write(weights, source, target))

    outcomes = [unchanged(weights[name], weights[name].nbytes) for name in weights.replaced]
    return Plan(outcomes, write)


def into_graph(weights: WeightFiles, graph: WeightFiles) -> WeightFiles:
    """Return a graph's weights with all of another file in their place, by their names.

    Raises
    ------
    ValueError
        Where the graph has none of a name, or has it in another shape or dtype.
    """
    for name, entry in weights.items():
        found = graph.get(name)
        here = f"{entry.dtype} {entry.shape}"
        if found is None or (found.shape, found.dtype) != (entry.shape, entry.dtype):
            there = _NONE if found is None else f"one of {found.dtype} {found.shape}"
            msg = f"{weights.path}: {name!r} is {here}, the graph {graph.path} has {there}"
            raise ValueError(msg)
    return graph.replacing({name: partial(weights.dense, name) for name in weights})


def _write(weights: WeightFiles, source: OnnxFile, target: Path) -> list[Path]:
    """Write the model, and its external data where it has any; the model's file appears last."""
    before: dict[str, Any] = {}
    is_external = bool(source.data_files)
    older, data = data_beside(target), unused_data(target)
    with ExitStack() as all_complete:
        temporary = all_complete.enter_context(complete_or_absent(target))
        file = None
        if is_external:
            file = all_complete.enter_context(complete_or_absent(data)).open("xb")
            all_complete.callback(file.close)
        try:
            for name, tensor in _changing(weights, source):
                before[name] = type(tensor.proto)()
                before[name].CopyFrom(tensor.proto)
                array = weights.dense(name) if name in weights.replaced else None
                _put(tensor, array, file, data.name)
            # Not onnx.save: it writes a tensor's own bytes to whatever file the tensor names.
            temporary.write_bytes(source.model.SerializeToString())
        finally:  # the model is the one that the weights were opened with
            for name, proto in before.items():
                source.tensors[name].proto.CopyFrom(proto)
    for file_of_older in older:
        file_of_older.unlink(missing_ok=True)
    return [target, data] if is_external else [target]


def _changing(weights: WeightFiles, source: OnnxFile) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors whose messages change: those replaced, and those with external data."""
    for name, tensor in source.tensors.items():
        if name in weights.replaced or tensor.external is not None:
            yield name, tensor


def _put(tensor: Tensor, array: Array | None, file: BinaryIO | None, location: str) -> None:
    """Give a tensor its numbers, in its message or in a file beside it; None: those it had."""
    proto = tensor.proto
    content = None if array is None else _little(array)
    if tensor.external is None:
        for field in ("float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
            proto.ClearField(field)
        assert content is not None
        proto.raw_data = content.tobytes()
        return
    assert file is not None
    file.write(bytes(-file.tell() % _PAGE))
    begin = file.tell()
    if content is None:
        _copy(tensor, file)
    else:
        file.write(content.data)
    proto.ClearField("raw_data")
    del proto.external_data[:]
    for key, value in (("location", location), ("offset", begin), ("length", tensor.nbytes)):
        proto.external_data.add(key=key, value=str(value))


def _little(array: Array) -> Array:
    """Return an array's bytes, the least first, as ONNX has them."""
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat.astype(flat.dtype.newbyteorder("<"), copy=False).view(np.uint8)


def _copy(tensor: Tensor, file: BinaryIO) -> None:
    """Copy a tensor's external data, piece by piece."""
    assert tensor.external is not None
    left = tensor.nbytes
    with tensor.external.path.open("rb") as source:
        source.seek(tensor.external.offset)
        while left:
            piece = source.read(min(left, _COPIED))
            if not piece:
                msg = f"{tensor.external.path} ended within tensor {tensor.proto.name!r}"
                raise ValueError(msg)
            file.write(piece)
            left -= len(piece)
