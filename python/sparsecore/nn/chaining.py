"""Where the layers of a traced module follow one another, so that one call can run them."""

import copy
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from sparsecore.nn.chain import LayerChain
from sparsecore.nn.chain_native import CONVOLUTIONS, SILENT, kind_of
from sparsecore.nn.chain_steps import Operation, Pooled, Step, Subsampled
from sparsecore.nn.csr_layer import CSRLayer
from sparsecore.nn.traced import only_user, writes

__all__ = ["chained"]


@dataclass(frozen=True, slots=True)
class _Call:
    """What becomes a step of a chain."""

    operation: Operation
    kind: str
    reads: tuple[fx.Node, ...]  # its input, and its residual where it has one
    nodes: tuple[fx.Node, ...]  # what it stands for; the last is its result
    is_layer: bool = False

    @property
    def result(self) -> fx.Node:
        return self.nodes[-1]


def chained(graph: fx.Graph, root: nn.Module) -> fx.Graph:
    """Return the graph with every run of at least two sparse layers called as one `LayerChain`.

    A run ends where something else reads its results, or might write to what it reads: its layers
    are called where the last of them was.
    """
    graph = copy.deepcopy(graph)
    modules = dict(root.named_modules(remove_duplicate=False))
    now: dict[fx.Node, fx.Node] = {}
    for number, run in enumerate(_runs(graph, modules)):
        _replace(graph, run, f"chain_{number}", now)
    graph.lint()
    return graph


# ---- what follows what ----


def _runs(graph: fx.Graph, modules: dict[str, nn.Module]) -> list[list[_Call]]:
    calls = {
        call.result: call for node in graph.nodes if (call := _call(node, modules)) is not None
    }
    for call in calls.values():
        for part, whole in zip(call.nodes, call.nodes[1:], strict=False):
            whole.prepend(part)
    inner = {node for call in calls.values() for node in call.nodes[:-1]}
    runs: list[list[_Call]] = []
    run: list[_Call] = []
    for node in graph.nodes:
        call = calls.get(node)
        if call is not None and not _can_begin(call) and not _goes_on(call, run):
            call = None
        if call is not None and (not run or call.kind in {run[0].kind, SILENT}):
            run.append(call)
        elif node in inner and _goes_on(calls[node.next], run):
            continue
        elif call is not None or _ends(node, {member.result for member in run}, modules):
            runs.append(run)
            run = [] if call is None else [call]
    return [run for run in (*runs, run) if _pays(run)]


def _can_begin(call: _Call) -> bool:
    return call.kind != SILENT and not isinstance(call.operation, Subsampled)


def _goes_on(call: _Call, run: list[_Call]) -> bool:
    """Whether a call reads a result of the run: one of as many channels as it needs to know."""
    sources = {member.result: member for member in run}
    source = sources.get(call.reads[0])
    if not isinstance(call.operation, Subsampled):
        return source is not None
    while source is not None and not source.is_layer:
        if isinstance(source.operation, Subsampled):
            return True
        source = sources.get(source.reads[0])
    return source is not None


def _pays(run: list[_Call]) -> bool:
    loud = [call for call in run if call.kind != SILENT]
    return len(loud) > 1 and any(call.is_layer for call in loud)


def _ends(node: fx.Node, results: set[fx.Node], modules: dict[str, nn.Module]) -> bool:
    if any(source in results for source in node.all_input_nodes):
        return True
    return node.op.startswith("call") and writes(node, modules)


# ---- what a node calls ----


def _call(node: fx.Node, modules: dict[str, nn.Module]) -> _Call | None:
    if node.op == "call_module":
        return _module_call(node, modules)
    return _pooling(node) or _subsampling(node, modules)


def _module_call(node: fx.Node, modules: dict[str, nn.Module]) -> _Call | None:
    module = modules[str(node.target)]
    is_layer = isinstance(module, CSRLayer)
    kind = kind_of(module)
    if kind is None or node.kwargs or not 1 <= len(node.args) <= (2 if is_layer else 1):
        return None
    reads = tuple(arg for arg in node.args if isinstance(arg, fx.Node))
    if len(reads) < len(node.args):
        return None
    return _Call(str(node.target), kind, reads, (node,), is_layer)


def _pooling(node: fx.Node) -> _Call | None:
    """Recognize ``F.max_pool2d``."""
    if node.op != "call_function" or node.target not in {F.max_pool2d, torch.max_pool2d}:
        return None
    if not node.args or not isinstance(node.args[0], fx.Node):
        return None
    names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
    options: dict[str, Any] = dict(zip(names, node.args[1:], strict=False)) | node.kwargs
    pooled = Pooled.of(**options) if "kernel_size" in options else None
    if pooled is None:
        return None
    return _Call(pooled, CONVOLUTIONS, (node.args[0],), (node,))


def _subsampling(node: fx.Node, modules: dict[str, nn.Module]) -> _Call | None:
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
    between = part.next
    while between is not node:
        if between.op.startswith("call") and writes(between, modules):
            return None  # the view would be another one if it was taken later
        between = between.next
    source = part.all_input_nodes[0]
    operation = Subsampled(strides, counts[4], counts[5])
    return _Call(operation, CONVOLUTIONS, (source,), (part, node))


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


# ---- one call instead of several ----


def _replace(graph: fx.Graph, run: list[_Call], name: str, now: dict[fx.Node, fx.Node]) -> None:
    """Call a run's layers as one, where the last of them is called.

    `now` says what stands for the results of earlier runs, and learns what does for this one's.
    """
    nodes = {node for call in run for node in call.nodes}
    results = [call.result for call in run]
    reads = {x: now.get(x, x) for call in run for x in call.reads if x not in nodes}
    inputs = list(dict.fromkeys(reads.values()))
    numbers = {node: number for number, node in enumerate((*inputs, *results))}
    steps = []
    for call in run:
        source, *residual = (numbers[reads.get(node, node)] for node in call.reads)
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
        now[output] = part
    for call in reversed(run):
        for node in reversed(call.nodes):
            graph.erase_node(node)
