"""Weights of ONNX files: the initializers, and what the graph does with them.

The graph is read whole; data outside of the model's file are read when they are asked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsecore.weight_files.entry import Entry
from sparsecore.weight_files.extras import import_for
from sparsecore.weight_files.onnx_names import make_distinct
from sparsecore.weight_files.onnx_tensors import Tensor, find_tensors, read_tensor
from sparsecore.weight_files.onnx_uses import find_uses
from sparsecore.weight_files.weights import WeightFiles, naming

__all__ = ["OnnxFile", "open_onnx"]


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """A model whose external data were not loaded.

    Attributes
    ----------
    model : onnx.ModelProto
    tensors : mapping of str to Tensor
    """

    model: Any
    tensors: Mapping[str, Tensor]

    @property
    def data_files(self) -> list[Path]:
        """The files beside the model's that have data of its tensors."""
        found = (t.external.path for t in self.tensors.values() if t.external is not None)
        return list(dict.fromkeys(found))


def open_onnx(path: Path) -> WeightFiles:
    """Open an ONNX file; see `open_weights`."""
    path.open("rb").close()  # raises what is wrong with another kind of file
    onnx = import_for(path, "onnx", extra="export")
    with naming(path):
        model = _load(onnx, path)
        make_distinct(model.graph)
        source = OnnxFile(model, find_tensors(onnx, model, path.parent))
        uses = find_uses(model.graph, source.tensors)
    entries = []
    for name, tensor in source.tensors.items():
        first, *others = uses.products.get(name, [None])
        factor = uses.factors.get(name, "")
        is_alike = bool(factor) and source.tensors[factor].shape == tensor.shape
        entries.append(
            Entry(
                name,
                tensor.shape,
                tensor.dtype,
                tensor.nbytes,
                "sparse" if tensor.is_sparse else "dense",
                first,
                tuple(use for use in others if use is not None),
                is_looked_up=first is None and name in uses.looked_up,
                factor=factor if is_alike else "",
            )
        )
    files = (path, *source.data_files)
    return WeightFiles(
        files, "onnx", entries, lambda name: read_tensor(onnx, source.tensors[name]), source
    )


def _load(onnx: Any, path: Path) -> Any:
    messages = import_for(path, "google.protobuf.message", extra="export")
    try:
        model = onnx.load(path, load_external_data=False)
    except (messages.DecodeError, RuntimeError) as fault:
        msg = f"not a whole ONNX model: {fault}"
        raise ValueError(msg) from fault
    if not model.HasField("graph") or not model.opset_import:
        msg = "not a whole ONNX model: it has no graph, or no operator set"
        raise ValueError(msg)
    return model
