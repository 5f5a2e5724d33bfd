"""Where the layers of a traced module follow one another, so that one call can run them."""

import copy
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from sparsecore.nn.chain import LayerChain, kind_of
from sparsecore.nn.chain_steps import Operation, Pooled, Step, Subsampled
from sparsecore.nn.layers import watched
from sparsecore.nn.traced import only_user, writes

__all__ = ["chained"]


@dataclass(frozen=True, slots=True)
class _Call:
    """What becomes a step of a chain."""

    operation: Operation
    kind: str
    reads: tuple[fx.Node, ...]  # its input, and its residual where it has one
    nodes: tuple[fx.Node, ...]  # what it stands for; the last is its result

    @property
    def result(self) -> fx.Node:
        return self.nodes[-1]


def chained(graph: fx.Graph, root: nn.Module) -> fx.Graph:
    """Return the graph with every run of at least two sparse layers called as one `LayerChain`.

    A run ends where something else reads its results, or might write to what it reads: its layers
    are called where the last of them was.
    """
    graph = copy.deepcopy(graph)
    modules = dict(root.named_modules())
    for node in list(graph.nodes):
        if node.op == "call_module" and _is_silent(modules[str(node.target)]):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    for number, run in enumerate(_runs(graph, modules)):
        _replace(graph, run, f"chain_{number}")
    graph.lint()
    return graph


def _is_silent(module: nn.Module) -> bool:
    """Whether a module returns what it is given: always, as nothing of it depends on the mode."""
    return type(module) is nn.Identity and not watched(module) and "forward" not in vars(module)


def _runs(graph: fx.Graph, modules: dict[str, nn.Module]) -> list[list[_Call]]:
    calls = {
        call.result: call for node in graph.nodes if (call := _call(node, modules)) is not None
    }
    inner = {node for call in calls.values() for node in call.nodes[:-1]}
    runs: list[list[_Call]] = []
    run: list[_Call] = []
    for node in graph.nodes:
        call = calls.get(node)
        results = {member.result for member in run}
        if call is not None and isinstance(call.operation, Subsampled):
            # Of how many channels, its source tells.
            call = call if call.reads[0] in results else None
        if call is not None and (not run or call.kind == run[-1].kind):
            run.append(call)
        elif node in inner and node.all_input_nodes[0] in results:
            continue
        elif call is not None or _ends(node, results, modules):
            runs.append(run)
            run = [] if call is None else [call]
    return [run for run in (*runs, run) if len(run) > 1 and _has_layer(run)]


def _has_layer(run: list[_Call]) -> bool:
    return any(isinstance(call.operation, str) for call in run)


def _call(node: fx.Node, modules: dict[str, nn.Module]) -> _Call | None:
    return _layer_call(node, modules) or _pooling(node, modules) or _subsampling(node)


def _layer_call(node: fx.Node, modules: dict[str, nn.Module]) -> _Call | None:
    if node.op != "call_module" or node.kwargs or not 1 <= len(node.args) <= 2:
        return None
    reads = tuple(arg for arg in node.args if isinstance(arg, fx.Node))
    kind = kind_of(modules[str(node.target)])
    if kind is None or len(reads) < len(node.args):
        return None
    return _Call(str(node.target), kind, reads, (node,))


def _pooling(node: fx.Node, modules: dict[str, nn.Module]) -> _Call | None:
    """Recognize ``nn.MaxPool2d`` and ``F.max_pool2d``, of windows that all meet the image."""
    if len(node.args) == 0 or not isinstance(node.args[0], fx.Node):
        return None
    names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
    options: dict[str, Any] = {"stride": None, "padding": 0, "dilation": 1}
    if node.op == "call_module":
        module = modules[str(node.target)]
        if type(module) is not nn.MaxPool2d or watched(module) or len(node.args) > 1:
            return None
        options |= {name: getattr(module, name) for name in names}
    elif node.op == "call_function" and node.target in {F.max_pool2d, torch.max_pool2d}:
        options |= dict(zip(names, node.args[1:], strict=False)) | node.kwargs
    else:
        return None
    kernel, padding, dilation = (
        _pair(options.get(name)) for name in ("kernel_size", "padding", "dilation")
    )
    stride = kernel if options["stride"] is None else _pair(options["stride"])
    is_plain = dilation == (1, 1) and not (
        options.get("ceil_mode") or options.get("return_indices")
    )
    if kernel is None or stride is None or padding is None or not is_plain:
        return None
    if any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        return None
    return _Call(Pooled(kernel, stride, padding), "convolutions", (node.args[0],), (node,))


def _pair(value: Any) -> tuple[int, int] | None:
    both = (value, value) if isinstance(value, int) else tuple(value or ())
    is_pair = len(both) == 2 and all(isinstance(n, int) for n in both)
    return (both[0], both[1]) if is_pair else None


def _subsampling(node: fx.Node) -> _Call | None:
    """Recognize ``F.pad(x[:, :, ::i, ::j], (0, 0, 0, 0, before, after))``."""
    if node.op != "call_function" or node.target is not F.pad or len(node.args) < 2:
        return None
    part, padding = node.args[:2]
    options = {**dict(zip(("mode", "value"), node.args[2:], strict=False)), **node.kwargs}
    with_zeros = options.get("mode", "constant") == "constant" and not options.get("value")
    if not with_zeros or not isinstance(part, fx.Node) or only_user(part) is not node:
        return None
    if not isinstance(padding, Sequence) or len(padding) != 6:
        return None
    counts = [n for n in padding if isinstance(n, int) and n >= 0]
    strides = _strides(part)
    if strides is None or len(counts) != 6 or any(counts[:4]):
        return None
    source = part.all_input_nodes[0]
    operation = Subsampled(strides, counts[4], counts[5])
    return _Call(operation, "convolutions", (source,), (part, node))


def _strides(node: fx.Node) -> tuple[int, int] | None:
    """Return i and j of ``x[:, :, ::i, ::j]``."""
    if node.op != "call_function" or node.target is not operator.getitem:
        return None
    places: Any = node.args[1]
    if not isinstance(places, tuple) or len(places) != 4:
        return None
    if not all(isinstance(p, slice) and p.start is None and p.stop is None for p in places):
        return None
    steps = [1 if p.step is None else p.step for p in places]
    if not all(isinstance(step, int) and step > 0 for step in steps) or steps[:2] != [1, 1]:
        return None
    return (steps[2], steps[3])


def _ends(node: fx.Node, results: set[fx.Node], modules: dict[str, nn.Module]) -> bool:
    if any(source in results for source in node.all_input_nodes):
        return True
    return node.op.startswith("call") and writes(node, modules)


def _replace(graph: fx.Graph, run: list[_Call], name: str) -> None:
    """Call the layers as one, where the last of them is called."""
    nodes = {node for call in run for node in call.nodes}
    results = [call.result for call in run]
    inputs = list(dict.fromkeys(x for call in run for x in call.reads if x not in nodes))
    numbers = {node: number for number, node in enumerate((*inputs, *results))}
    steps = []
    for call in run:
        source, *residual = (numbers[node] for node in call.reads)
        steps.append(Step(call.operation, source, residual[0] if residual else None))
    outputs = [node for node in results if any(user not in nodes for user in node.users)]
    chain = LayerChain(name, len(inputs), tuple(steps), tuple(numbers[node] for node in outputs))
    with graph.inserting_after(results[-1]):
        call_all = graph.call_function(chain, tuple(inputs))
    for i, output in reversed(list(enumerate(outputs))):
        part = call_all
        if len(outputs) > 1:
            with graph.inserting_after(call_all):
                part = graph.call_function(operator.getitem, (call_all, i))
        output.replace_all_uses_with(part, delete_user_cb=lambda user: user not in nodes)
    for call in reversed(run):
        for node in reversed(call.nodes):
            graph.erase_node(node)
