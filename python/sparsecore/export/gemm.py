"""MatMul with a constant right side, and the Add behind it, as Gemm."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx

__all__ = ["matmuls_to_gemms"]

Dims = list[int | None]


def matmuls_to_gemms(proto: "onnx.ModelProto") -> tuple[str, ...]:
    """Rewrite, in place, every MatMul whose right side is a constant matrix (K, N).

    ``Y = X B`` becomes ``Gemm(X, B)``, and a constant that is added to it, (N,) or a single number
    of each column, its C. An X of more than two axes is reshaped to two before, and Y back after.

    Returns
    -------
    tuple of str
        The names of the new nodes, ``NAME_as_Gemm``. A MatMul stays where more than one size of X
        is not known.
    """
    from onnx import helper

    graph = _Graph.of(proto)
    nodes: list[onnx.NodeProto] = []
    dropped: set[int] = set()
    names: list[str] = []
    for node in proto.graph.node:
        if id(node) in dropped:
            continue
        shape = graph.reshapeable(node)
        if shape is None:
            nodes.append(node)
            continue
        add = graph.bias_after(node)
        name = f"{node.name}_as_Gemm"
        names.append(name)
        left, right = node.input
        output = add[0].output[0] if add else node.output[0]
        inputs = [left, right, *([add[1]] if add else [])]
        if add:
            dropped.add(id(add[0]))
        if len(shape) == 2:
            nodes.append(helper.make_node("Gemm", inputs, [output], name=name))
            continue
        k, n = graph.shapes[right]
        flat, product = f"{output}_rows", f"{output}_product"
        to_rows = graph.constant(f"{flat}_shape", [-1, k])
        back = graph.constant(f"{output}_shape", [-1 if d is None else d for d in shape[:-1]] + [n])
        nodes += [
            helper.make_node("Reshape", [left, to_rows], [flat], name=f"{name}/rows"),
            helper.make_node("Gemm", [flat, *inputs[1:]], [product], name=name),
            helper.make_node("Reshape", [product, back], [output], name=f"{name}/back"),
        ]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    proto.graph.initializer.extend(graph.new)
    return tuple(names)


@dataclass(slots=True)
class _Graph:
    """What has to be known of a graph to rewrite it."""

    shapes: dict[str, Dims]
    matrices: set[str]  # constant, two axes
    rows: set[str]  # constant, one axis
    readers: dict[str, list["onnx.NodeProto"]]
    outputs: set[str]
    new: list["onnx.TensorProto"] = field(default_factory=list)

    @classmethod
    def of(cls, proto: "onnx.ModelProto") -> "_Graph":
        readers: dict[str, list[onnx.NodeProto]] = {}
        for node in proto.graph.node:
            for name in node.input:
                readers.setdefault(name, []).append(node)
        inputs = {value.name for value in proto.graph.input}
        fixed = [t for t in proto.graph.initializer if t.name not in inputs]
        values = (*proto.graph.input, *proto.graph.value_info, *proto.graph.output)
        shapes = {value.name: _dims(value) for value in values}
        shapes |= {t.name: list(t.dims) for t in proto.graph.initializer}
        return cls(
            shapes={name: dims for name, dims in shapes.items() if dims is not None},
            matrices={t.name for t in fixed if len(t.dims) == 2},
            rows={t.name for t in fixed if len(t.dims) == 1},
            readers=readers,
            outputs={value.name for value in proto.graph.output},
        )

    def reshapeable(self, node: "onnx.NodeProto") -> Dims | None:
        """Return the shape of X where `node` is a MatMul that can become a Gemm."""
        if node.op_type != "MatMul" or node.domain or node.input[1] not in self.matrices:
            return None
        shape = self.shapes.get(node.input[0])
        if shape is None or len(shape) < 2:
            return None
        unknown = Counter(shape[:-1])[None]
        return shape if len(shape) == 2 or (unknown <= 1 and 0 not in shape) else None

    def bias_after(self, node: "onnx.NodeProto") -> tuple["onnx.NodeProto", str] | None:
        """Return the Add that alone reads a product, and the bias that it adds."""
        product = node.output[0]
        readers = self.readers.get(product, [])
        if len(readers) != 1 or product in self.outputs or readers[0].op_type != "Add":
            return None
        n = self.shapes[node.input[1]][1]
        others = [name for name in readers[0].input if name != product]
        if len(others) == 1 and others[0] in self.rows and self.shapes[others[0]] == [n]:
            return readers[0], others[0]
        return None

    def constant(self, name: str, numbers: Sequence[int | None]) -> str:
        """Add int64 numbers to the graph, and return their name."""
        from onnx import numpy_helper

        self.new.append(numpy_helper.from_array(np.array(numbers, dtype=np.int64), name))
        return name


def _dims(value: "onnx.ValueInfoProto") -> Dims | None:
    """Return the sizes of a value, None for what is not fixed; None where nothing is known."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return [d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim]
