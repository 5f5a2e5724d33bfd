"""torch's exporter: from a dense model and its example to an ONNX model."""

import ast
import io
import logging
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from sparsecore.nn.example import Example

if TYPE_CHECKING:
    import onnx

__all__ = ["Traced", "leaf_tensors", "longer", "trace"]

_LOGGERS = ("torch.onnx", "torch.fx", "torch._subclasses", "torch.export", "onnxscript", "onnx_ir")


@dataclass(frozen=True, slots=True)
class Traced:
    """An ONNX model, and the parameters of the torch model that it reads."""

    proto: "onnx.ModelProto"
    parameters: dict[str, Tensor]


def trace(model: nn.Module, example: Example, *, dynamic_batch: bool, opset: int | None) -> Traced:
    """Export a dense model in evaluation mode.

    Raises
    ------
    ValueError
        If the batch is to be dynamic and the example has none, or the exporter does not write this
        opset for the model.
    RuntimeError
        If it cannot follow the model, as where Python decides by a tensor's values.
    """
    shapes = None
    if dynamic_batch:
        size = _batch_size(example)
        # torch.export takes a size of 1 for a constant.
        example = longer(example, 2) if size == 1 else example
        shapes = _dynamic_shapes(example)
    try:
        with _quiet(), torch.no_grad():
            program = torch.export.export(
                model, example.args, dict(example.kwargs), dynamic_shapes=shapes, strict=False
            )
            written = torch.onnx.export(program, dynamo=True, verbose=False, opset_version=opset)
    except Exception as error:  # torch's tracers have no common one
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        msg = f"to_onnx: torch's exporter cannot follow the model: {reason}"
        raise RuntimeError(msg) from error
    assert written is not None
    proto = written.model_proto
    _check_opset(proto, opset)
    _name_by_modules(proto)
    used = {node.name for node in program.graph.nodes if node.op == "placeholder" and node.users}
    names = program.graph_signature.inputs_to_parameters
    parameters = {name: program.state_dict[name] for key, name in names.items() if key in used}
    return Traced(proto, parameters)


def leaf_tensors(tree: Any) -> list[Tensor]:
    """Return the tensors of an example or an output, in the order that ONNX has them."""
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]


def longer(example: Example, size: int) -> Example:
    """Return the example with a batch of this size: the same samples again and again."""
    first = _batch_size(example)

    def repeated(x: Tensor) -> Tensor:
        is_batch = x.ndim > 0 and len(x) == first
        return x[torch.arange(size, device=x.device) % first] if is_batch else x

    return example.map(repeated)


def _batch_size(example: Example) -> int:
    tensors = leaf_tensors((example.args, dict(example.kwargs)))
    if not tensors or tensors[0].ndim == 0 or not len(tensors[0]):
        msg = "to_onnx: dynamic_batch=True, but the first tensor of example_inputs has no samples"
        raise ValueError(msg)
    return len(tensors[0])


def _dynamic_shapes(example: Example) -> Any:
    batch, size = torch.export.Dim("batch"), _batch_size(example)

    def of(leaf: Any) -> Any:
        is_batch = isinstance(leaf, Tensor) and leaf.ndim > 0 and len(leaf) == size
        return {0: batch} if is_batch else None

    # An example has one of both.
    return pytree.tree_map(of, example.args or dict(example.kwargs))


def _check_opset(proto: "onnx.ModelProto", asked: int | None) -> None:
    found = next(o.version for o in proto.opset_import if o.domain in {"", "ai.onnx"})
    if asked is not None and found != asked:
        msg = f"to_onnx: opset is {asked}, but torch's exporter writes {found} for this model"
        raise ValueError(msg)


def _name_by_modules(proto: "onnx.ModelProto") -> None:
    """Name nodes by their torch modules, and drop what the exporter notes of this machine.

    Build logs of engines know nodes by these names only: ``layer1.0.conv1/Conv``.
    """
    seen: Counter[str] = Counter()
    held = {tensor.name for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        module = _module_of(node, held)
        name = f"{module}/{node.op_type}" if module else node.op_type
        node.name = f"{name}_{seen[name]}" if seen[name] else name
        seen[name] += 1
        node.doc_string = ""
        del node.metadata_props[:]
    for value in (*proto.graph.value_info, *proto.graph.input, *proto.graph.output):
        del value.metadata_props[:]
    for tensor in proto.graph.initializer:
        del tensor.metadata_props[:]
    del proto.graph.metadata_props[:]
    proto.graph.doc_string = ""


def _module_of(node: "onnx.NodeProto", held: set[str]) -> str:
    """Return the module that a node's weight belongs to, or else the one that it is called in.

    A convolution that a BatchNorm was folded into is noted as the BatchNorm's.
    """
    weight: str = node.input[1] if len(node.input) > 1 else ""
    if weight in held and weight.endswith(".weight"):
        return weight.removesuffix(".weight")
    for note in node.metadata_props:
        if note.key == "pkg.torch.onnx.name_scopes":
            # A list as Python writes it: the modules from the outermost on, at last the function.
            scopes: list[str] = ast.literal_eval(note.value)
            return scopes[-2] if len(scopes) > 1 else ""
    return ""


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporter says of itself from the user, who cannot act on it."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
