"""Where the layers of a traced module follow one another, so that one call can run them."""

import copy
import operator
from typing import Any

from torch import fx, nn

from sparsecore.nn.chain import LayerChain, Step, kind_of
from sparsecore.nn.layers import watched
from sparsecore.nn.traced import writes

__all__ = ["chained"]


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
    runs: list[list[fx.Node]] = []
    run: list[fx.Node] = []
    for node in graph.nodes:
        kind = _kind(node, modules)
        joins = kind is not None and (not run or kind == _kind(run[-1], modules))
        if joins:
            run.append(node)
        elif kind is not None or _ends(node, run, modules):
            runs.append(run)
            run = [] if kind is None else [node]
    runs.append(run)
    for number, layers in enumerate(run for run in runs if len(run) > 1):
        _replace(graph, layers, f"chain_{number}")
    graph.lint()
    return graph


def _is_silent(module: nn.Module) -> bool:
    """Whether a module returns what it is given: always, as nothing of it depends on the mode."""
    return type(module) is nn.Identity and not watched(module) and "forward" not in vars(module)


def _kind(node: fx.Node, modules: dict[str, nn.Module]) -> str | None:
    """Return the kind of chain that a node's layer can be part of."""
    if node.op != "call_module" or node.kwargs or not 1 <= len(node.args) <= 2:
        return None
    if not all(isinstance(arg, fx.Node) for arg in node.args):
        return None
    return kind_of(modules[str(node.target)])


def _ends(node: fx.Node, run: list[fx.Node], modules: dict[str, nn.Module]) -> bool:
    if any(source in run for source in node.all_input_nodes):
        return True
    return node.op.startswith("call") and writes(node, modules)


def _replace(graph: fx.Graph, layers: list[fx.Node], name: str) -> None:
    """Call the layers as one, where the last of them is called."""
    inputs: list[fx.Node] = []
    for layer in layers:
        inputs += [x for x in layer.all_input_nodes if x not in layers and x not in inputs]
    numbers = {node: number for number, node in enumerate((*inputs, *layers))}
    steps = tuple(_step(layer, numbers) for layer in layers)
    results = [node for node in layers if any(user not in layers for user in node.users)]
    chain = LayerChain(name, len(inputs), steps, tuple(numbers[node] for node in results))
    with graph.inserting_after(layers[-1]):
        call = graph.call_function(chain, tuple(inputs))
    parts = [call]
    if len(results) > 1:
        with graph.inserting_after(call):
            parts = [
                graph.call_function(operator.getitem, (call, i)) for i in range(len(results))
            ]
    for result, part in zip(results, parts, strict=True):
        result.replace_all_uses_with(part, delete_user_cb=lambda user: user not in layers)
    for layer in reversed(layers):
        graph.erase_node(layer)


def _step(layer: fx.Node, numbers: dict[Any, int]) -> Step:
    x, *residual = layer.args
    return Step(str(layer.target), numbers[x], numbers[residual[0]] if residual else None)
