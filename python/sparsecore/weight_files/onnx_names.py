"""Names that an ONNX file has several times become different ones, so that a name is one thing.

The two branches of an If may each have a tensor of one name, and names of nodes need not differ
(https://onnx.ai/onnx/repo-docs/IR.html#names-within-a-graph).
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from sparsecore.weight_files.onnx_tensors import graphs, subgraphs
from sparsecore.weight_files.onnx_uses import node_label

__all__ = ["make_distinct"]


def make_distinct(graph: Any) -> None:
    """Give a graph's later tensors and nodes of a name others: ``NAME_2``, ``NAME_3``.

    A tensor is renamed in its own graph and where that takes it. Two of one name in one graph stay:
    which of them is meant nobody knows.
    """
    values = _Names(name for inner in graphs(graph) for name in _values(inner))
    seen: set[str] = set()
    for inner in graphs(graph):
        own = {name for name in _made(inner) if isinstance(name, str)}
        for name in sorted(own & seen):
            _rename(inner, name, values.fresh(name))
        seen |= own
    nodes = [node for inner in graphs(graph) for node in inner.node]
    labels = _Names(map(node_label, nodes))
    used: set[str] = set()
    for node in nodes:
        label = node_label(node)
        if label in used:
            node.name = label = labels.fresh(label)
        used.add(label)


class _Names:
    """Names that are taken."""

    def __init__(self, names: Iterable[str]) -> None:
        self._taken = set(names)
        self._last: dict[str, int] = {}

    def fresh(self, name: str) -> str:
        """Return a name that is not taken, and take it."""
        numbers = itertools.count(self._last.get(name, 1) + 1)
        number = next(n for n in numbers if f"{name}_{n}" not in self._taken)
        self._last[name] = number
        self._taken.add(found := f"{name}_{number}")
        return found


def _made(graph: Any) -> Iterator[str]:
    """Yield the names of a graph's own tensors, and of what its nodes make."""
    yield from (proto.name for proto in graph.initializer)
    yield from (sparse.values.name for sparse in graph.sparse_initializer)
    for node in graph.node:
        yield from filter(None, node.output)


def _values(graph: Any) -> Iterator[str]:
    """Yield all names of values in a graph."""
    yield from _made(graph)
    yield from (value.name for value in graph.input)
    for node in graph.node:
        yield from node.input


def _rename(graph: Any, name: str, new: str) -> None:
    """Rename a value that a graph makes, there and in the graphs of its nodes."""
    tensors = [*graph.initializer, *(sparse.values for sparse in graph.sparse_initializer)]
    for named in (*tensors, *graph.input, *graph.output, *graph.value_info):
        if named.name == name:
            named.name = new
    for node in graph.node:
        for places in (node.input, node.output):
            for i, value in enumerate(places):
                if value == name:
                    places[i] = new
        for inner in subgraphs(node):
            if name not in (*_made(inner), *(value.name for value in inner.input)):
                _rename(inner, name, new)
