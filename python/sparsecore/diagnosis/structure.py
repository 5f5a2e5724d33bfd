"""What a model's structure tells without running it: types, hooks, parametrizations, its graph."""

import operator
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize, prune

from sparsecore.diagnosis.facts import LayerUse
from sparsecore.diagnosis.recording import Recorder, Seen
from sparsecore.nn.sparse_layer import SparseLayer
from sparsecore.nn.tracing import is_leaf, traced

__all__ = ["look_at", "use_by_type"]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_FUSED = (nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase)
# The place of a function's weight among its arguments, and its use.
_FUNCTIONS: Mapping[Any, tuple[int, LayerUse]] = {
    F.linear: (1, LayerUse("linear", "torch.nn.functional.linear", 1)),
    F.embedding: (1, LayerUse("lookup", "torch.nn.functional.embedding")),
    torch.addmm: (2, LayerUse("linear", "torch.addmm", 0)),
    torch.matmul: (1, LayerUse("linear", "torch.matmul", 0)),
    torch.mm: (1, LayerUse("linear", "torch.mm", 0)),
    operator.matmul: (1, LayerUse("linear", "torch.matmul", 0)),
}


def use_by_type(module: nn.Module) -> LayerUse | None:
    """Return the use of a module's weights that its type tells; None where it tells nothing."""
    name = f"nn.{type(module).__name__}"
    if isinstance(module, _CONVOLUTIONS + _TRANSPOSED):
        is_transposed = isinstance(module, _TRANSPOSED)
        return LayerUse(
            "convolution",
            name,
            reduction_axis=0 if is_transposed else 1,
            groups=module.groups,
            kernel_size=tuple(module.kernel_size),
            transposed=is_transposed,
        )
    if isinstance(module, nn.Linear):
        return LayerUse("linear", name, 1)
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return LayerUse("lookup", name)
    return LayerUse("fused", name, 1) if isinstance(module, _FUSED) else None


def look_at(model: nn.Module, stored: Mapping[str, Tensor]) -> tuple[Seen, frozenset[nn.Module]]:
    """Find uses and masks without an example.

    Parameters
    ----------
    model : torch.nn.Module
        Its weights are computed where hooks of ``torch.nn.utils.prune``, parametrizations or a
        forward that torch.fx can follow compute them from stored tensors alone.
    stored : mapping of str to tensor

    Returns
    -------
    seen : Seen
        Without rows.
    followed : set of torch.nn.Module
        The modules whose forward is known, and that of all that hold them.
    """
    recorder = Recorder(stored)
    followed: set[nn.Module] = set()
    with torch.no_grad():
        for module in model.modules():
            _weights_of(module, recorder)
        _follow(model, recorder, followed)
    return recorder.seen(), frozenset(followed)


def _weights_of(module: nn.Module, recorder: Recorder) -> None:
    """Compute a module's parameters as its forward would, and note them."""
    use = use_by_type(module)
    if use is None or isinstance(module, SparseLayer):
        return
    before = dict(vars(module))
    names = list(module._parameters)
    try:
        with recorder:
            if parametrize.is_parametrized(module):
                names += list(getattr(module, "parametrizations", ()))
            for hook in module._forward_pre_hooks.values():
                if isinstance(hook, prune.BasePruningMethod):
                    hook(module, ())
                    names.append(hook._tensor_name)
            weights = [getattr(module, name) for name in dict.fromkeys(names)]
    finally:
        vars(module).update(before)
    for weight in weights:
        if isinstance(weight, Tensor) and weight.ndim >= 2:
            recorder.consume(weight, use)


def _follow(
    module: nn.Module, recorder: Recorder, followed: set[nn.Module], *, known: bool = True
) -> None:
    """Follow the forward of a module, or of its children where its own cannot be followed.

    `known` says whether the forwards of all that hold the module are known.
    """
    graph = None if is_leaf(module) else traced(module)
    if graph is not None:
        _interpret(module, graph, recorder)
    if known and (graph is not None or is_leaf(module)):
        followed.update(module.modules())
    if graph is None:
        passes_on = known and isinstance(module, nn.Sequential)
        for child in module.children():
            _follow(child, recorder, followed, known=passes_on)


def _interpret(module: nn.Module, graph: fx.Graph, recorder: Recorder) -> None:
    """Run what a graph computes from stored tensors alone, and note what takes the results."""
    values: dict[fx.Node, Any] = {}
    for node in graph.nodes:
        if node.op == "get_attr":
            values[node] = _attribute(module, str(node.target))
        elif node.op in ("call_function", "call_method"):
            if all(source in values for source in node.all_input_nodes) and node.all_input_nodes:
                values[node] = _computed(node, values, recorder)
            else:
                _consume(node, values, recorder)


def _attribute(module: nn.Module, path: str) -> Any:
    value: Any = module
    for part in path.split("."):
        value = getattr(value, part)
    return value


def _computed(node: fx.Node, values: Mapping[fx.Node, Any], recorder: Recorder) -> Any:
    args = fx.node.map_arg(node.args, values.__getitem__)
    kwargs = fx.node.map_arg(node.kwargs, values.__getitem__)
    target: Any = node.target
    with recorder:
        if node.op == "call_method":
            return getattr(args[0], target)(*args[1:], **kwargs)
        return target(*args, **kwargs)


def _consume(node: fx.Node, values: Mapping[fx.Node, Any], recorder: Recorder) -> None:
    if node.target not in _FUNCTIONS:
        return
    place, use = _FUNCTIONS[node.target]
    source = node.args[place] if len(node.args) > place else node.kwargs.get("weight")
    weight = values.get(source) if isinstance(source, fx.Node) else None
    if isinstance(weight, Tensor) and weight.ndim == 2:
        recorder.consume(weight, use)
