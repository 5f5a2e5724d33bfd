"""What the operators of an ONNX graph do with its tensors.

A tensor is followed through operators that give its numbers back (Identity, Transpose, casts and
quantization), and into branches and loops. What else is done to it, a Reshape say, hides it: then
nothing is said of its use.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

from sparsecore.conv_geometry import ConvGeometry
from sparsecore.weight_files.entry import Use
from sparsecore.weight_files.onnx_tensors import Tensor, graphs, subgraphs

__all__ = ["Uses", "find_uses", "node_label"]

_SAME = ("Identity", "Cast", "QuantizeLinear", "DequantizeLinear", "Dropout")
_CONVOLUTIONS = {"Conv": 1, "FusedConv": 1, "ConvInteger": 1, "QLinearConv": 3}
_LEFT_RIGHT = {"MatMul": (0, 1), "MatMulInteger": (0, 1), "QLinearMatMul": (0, 3)}
_DOMAINS = ("", "ai.onnx", "com.microsoft")
_RECURRENT = ("LSTM", "GRU", "RNN")
_QUANTIZED = (
    "DequantizeLinear",
    "QLinearConv",
    "QLinearMatMul",
    "ConvInteger",
    "MatMulInteger",
)


@dataclass(frozen=True, slots=True)
class _Origin:
    """A tensor that a value stands for; axis i of the value is the tensor's axis ``axes[i]``.

    Of integers that were widened, `zero_point` names the value that stood for zero, if any does.
    """

    tensor: str
    axes: tuple[int, ...]
    zero_point: str = ""


@dataclass(frozen=True, slots=True)
class Uses:
    """What a graph does with its tensors, by their names.

    Attributes
    ----------
    products : dict of str to list of Use
        What multiplies by each, in the order in which it is run.
    looked_up : set of str
        Those whose rows a Gather looks up, by indices that are computed.
    factors : dict of str to str
        The tensor of the same shape that each is multiplied with, entry by entry.
    """

    products: dict[str, list[Use]] = field(default_factory=dict)
    looked_up: set[str] = field(default_factory=set)
    factors: dict[str, str] = field(default_factory=dict)


def find_uses(graph: Any, tensors: Mapping[str, Tensor]) -> Uses:
    """Return what a graph does with its tensors.

    Raises
    ------
    ValueError
        Where the graph goes in a circle, or makes a value twice.
    """
    found = Uses()
    origins = {name: _Origin(name, tuple(range(len(t.shape)))) for name, t in tensors.items()}
    _follow(graph, origins, tensors, found)
    return found


def _follow(
    graph: Any,
    outside: Mapping[str, _Origin],
    tensors: Mapping[str, Tensor],
    found: Uses,
) -> None:
    origins = dict(outside)
    for node in _in_order(graph):
        _note_others(node, [origins.get(name) for name in node.input], found)
        for position, name in enumerate(node.input):
            origin = origins.get(name)
            if origin is None:
                continue
            use = _use(node, position, origin, tensors[origin.tensor].shape)
            if use is not None:
                found.products.setdefault(origin.tensor, []).append(use)
            elif position == 0 and node.output and (axes := _moved(node, origin)) is not None:
                zero_point = origin.zero_point or _zero_point(node, position)
                origins[node.output[0]] = _Origin(origin.tensor, axes, zero_point)
        for inner in subgraphs(node):
            _follow(inner, origins, tensors, found)


def _note_others(node: Any, operands: Sequence[_Origin | None], found: Uses) -> None:
    """Note a tensor whose rows are looked up, and two that are multiplied entry by entry."""
    if node.domain not in _DOMAINS or len(operands) != 2:
        return
    one, other = operands
    if node.op_type == "Gather" and one is not None and other is None:
        found.looked_up.add(one.tensor)
    if node.op_type == "Mul" and one is not None and other is not None:
        found.factors.setdefault(one.tensor, other.tensor)
        found.factors.setdefault(other.tensor, one.tensor)


def _in_order(graph: Any) -> Iterator[Any]:
    """Yield the nodes of a graph so that each comes after those that make what it takes."""
    makers: dict[str, int] = {}
    for i, node in enumerate(graph.node):
        for name in filter(None, node.output):
            if name in makers:
                msg = f"the graph makes the value {name!r} twice"
                raise ValueError(msg)
            makers[name] = i
    for proto in graph.initializer:
        if proto.name in makers:
            msg = f"{proto.name!r} is a tensor, and a node makes it, too"
            raise ValueError(msg)
    order = TopologicalSorter(
        {i: {makers[n] for n in _taken(node) if n in makers} for i, node in enumerate(graph.node)}
    )
    try:
        for i in order.static_order():
            yield graph.node[i]
    except CycleError as fault:
        node = graph.node[fault.args[1][0]]
        msg = f"the graph goes in a circle through the node {node.name!r}, a {node.op_type}"
        raise ValueError(msg) from None


def _taken(node: Any) -> Iterator[str]:
    """Yield the names of the values that a node takes, also inside of its graphs."""
    yield from node.input
    for inner in subgraphs(node):
        for graph in graphs(inner):
            for inside in graph.node:
                yield from inside.input
            yield from (value.name for value in graph.output)


def _moved(node: Any, origin: _Origin) -> tuple[int, ...] | None:
    """Return which axes of a tensor a node's result has; None where it is another tensor."""
    if node.op_type in _SAME:
        return origin.axes
    if node.op_type != "Transpose":
        return None
    order = _attributes(node).get("perm", list(reversed(range(len(origin.axes)))))
    if sorted(order) != list(range(len(origin.axes))):
        msg = f"the node {node.name!r} transposes {len(origin.axes)} axes by {list(order)}"
        raise ValueError(msg)
    return tuple(origin.axes[axis] for axis in order)


def node_label(node: Any) -> str:
    """Return the name of a node, or of its first output where it has none."""
    return str(node.name or next(iter(node.output), ""))


# ---- one use ----


def _use(node: Any, position: int, origin: _Origin, shape: tuple[int, ...]) -> Use | None:
    """Return what a node does with a tensor; None where it does not multiply by it."""
    attributes, rank = _attributes(node), len(shape)
    if node.domain not in _DOMAINS:
        return None
    axis = _reduction_axis(node.op_type, position, rank, attributes)
    if axis is None:
        return None
    groups = int(attributes.get("group", 1))
    is_plain = origin.axes == tuple(range(rank))
    is_image = node.op_type in _CONVOLUTIONS and rank == 4 and is_plain
    geometry = _geometry(attributes, groups, shape) if is_image else None
    return Use(
        node.op_type,
        origin.axes[axis],
        geometry,
        groups,
        node_label(node),
        next(iter(node.output), ""),
        origin.zero_point or _zero_point(node, position),
    )


def _zero_point(node: Any, position: int) -> str:
    """Return the name of the value that is zero among an operand's integers; empty without one."""
    place = position + 2  # of all these operators
    return str(node.input[place]) if node.op_type in _QUANTIZED and place < len(node.input) else ""


def _reduction_axis(
    operator: str, position: int, rank: int, attributes: Mapping[str, Any]
) -> int | None:
    """Return the axis of an operand that its operator sums over; None where there is none."""
    left, right = _LEFT_RIGHT.get(operator, (None, None))
    if position == _CONVOLUTIONS.get(operator) and rank >= 3:
        return 1
    if operator == "ConvTranspose" and position == 1 and rank >= 3:
        return 0
    if operator == "Gemm" and position < 2 and rank == 2:
        is_transposed = bool(attributes.get("transB" if position else "transA", 0))
        return int(is_transposed == (position == 1))
    if position == left and rank >= 1:
        return rank - 1
    if position == right and rank >= 1:
        return max(rank - 2, 0)
    return 2 if operator in _RECURRENT and position in (1, 2) and rank == 3 else None


def _geometry(
    attributes: Mapping[str, Any], groups: int, shape: tuple[int, ...]
) -> ConvGeometry | None:
    """Return where a convolution's kernel meets an image; None where `ConvGeometry` cannot say."""
    pads = [int(n) for n in attributes.get("pads", (0, 0, 0, 0))]
    strides, dilations = (attributes.get(key, (1, 1)) for key in ("strides", "dilations"))
    is_fixed = attributes.get("auto_pad", b"NOTSET") in (b"NOTSET", b"VALID", b"")
    if not is_fixed or len(pads) != 4 or pads[:2] != pads[2:]:
        return None
    try:
        geometry = ConvGeometry.of(
            shape[2:], tuple(strides), tuple(pads[:2]), tuple(dilations), groups
        )
        geometry.check((shape[0], math.prod(shape[1:])))
    except (ValueError, TypeError):  # numbers that no convolution has
        return None
    return geometry


def _attributes(node: Any) -> dict[str, Any]:
    """Return a node's numbers, lists of numbers and texts, by name."""
    kinds = {2: "i", 3: "s", 7: "ints"}  # AttributeProto.AttributeType
    return {a.name: getattr(a, kinds[a.type]) for a in node.attribute if a.type in kinds}
