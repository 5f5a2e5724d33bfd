"""What follows a layer becomes part of it: BatchNorm, a residual, an activation.

The model is traced by torch.fx, or where that fails its children are, one by one. A traced module
keeps its submodules, names and class; its forward is replaced, on the instance, by one that calls
the fused layers. For running only: a folded BatchNorm no longer learns.
"""

import math
import operator
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from sparsecore.nn.accuracy import outputs_difference, tolerance
from sparsecore.nn.example import Example, undisturbed
from sparsecore.nn.fused import FusedConv2d, FusedLinear
from sparsecore.nn.fused_forward import FusedForward
from sparsecore.nn.fusion import Change, Fusion
from sparsecore.nn.layers import obstacle, watched
from sparsecore.nn.traced import only_user, writes
from sparsecore.nn.tracing import is_leaf, traced

__all__ = ["fuse", "fuse_where_equal"]

_MODULES: dict[type, str] = {nn.ReLU: "relu", nn.GELU: "gelu", nn.SiLU: "silu"}
_FUNCTIONS: dict[Any, str] = {
    F.relu: "relu",
    torch.relu: "relu",
    torch.relu_: "relu",
    F.gelu: "gelu",
    F.silu: "silu",
}
_METHODS = {"relu": "relu", "relu_": "relu"}
_ADDITIONS = {operator.add, operator.iadd, torch.add}


def fuse(model: nn.Module) -> Fusion:
    """Find what can be fused in a model in eval mode; ``put(True)`` on the result does it."""
    if watched(model) or "forward" in vars(model):
        return Fusion()
    graph = traced(model)
    if graph is not None:
        return _Rewriting(model, graph).fusion()
    fusion = Fusion()
    for child in model.children():
        if not is_leaf(child):
            fusion += fuse(child)
    return fusion


def fuse_where_equal(model: nn.Module, example: Example, reference: Any) -> tuple[Fusion, float]:
    """Fuse what can be fused, unless the output then differs by more than rounding explains."""
    with undisturbed(model):
        fusion = fuse(model)
    allowed = 0.0
    for layer in fusion.layers:
        allowed += tolerance(layer.weight.dtype, math.prod(layer.weight.shape[1:]))
    fusion.put(fused=True)
    try:
        agrees = outputs_difference(example.output(model), reference) <= allowed
    except Exception:  # the traced code met what the model's own would not have
        agrees = False
    if agrees:
        return fusion, allowed
    fusion.put(fused=False)
    return Fusion(), 0.0


class _Rewriting:
    """The fusing of one module's graph."""

    def __init__(self, root: nn.Module, graph: fx.Graph) -> None:
        self._root, self._graph = root, graph
        self._modules = dict(root.named_modules())
        self._order = {node: i for i, node in enumerate(graph.nodes)}
        self._calls: dict[nn.Module, int] = {}
        for node in graph.nodes:
            if node.op == "call_module":
                module = self._modules[node.target]
                self._calls[module] = self._calls.get(module, 0) + 1
        self._slots: dict[nn.Module, list[tuple[nn.Module, str]]] = {}
        for parent in root.modules():
            for key, child in parent._modules.items():
                if child is not None:
                    self._slots.setdefault(child, []).append((parent, key))

    def fusion(self) -> Fusion:
        """Rewrite the graph and return all changes, the module's forward among them."""
        fusion = Fusion()
        for node in list(self._graph.nodes):
            fusion += self._layer(node)
        if not fusion.changes:
            return fusion
        self._graph.lint()
        forward = FusedForward.of(self._root, self._graph)
        return fusion + Fusion((Change(self._root, "forward", None, forward),))

    def _layer(self, node: fx.Node) -> Fusion:
        """Fuse what follows a layer's call."""
        layer = self._called(node, nn.Conv2d, nn.Linear)
        if layer is None or node.kwargs or len(node.args) != 1 or obstacle(layer) is not None:
            return Fusion()
        last, norm = node, None
        if (user := only_user(last)) is not None and isinstance(layer, nn.Conv2d):
            norm = self._norm(user)
            last = user if norm is not None else last
        addition, residual = self._addition(node, last)
        if addition is not None:
            last = addition
        user = only_user(last)
        activation = None if user is None else self._activation(user)
        if user is not None and activation is not None:
            last = user
        if last is node:
            return Fusion()
        self._rewire(node, addition, residual, last)
        return self._changes(layer, norm, activation, residual is not None)

    def _called(self, node: fx.Node, *kinds: type[nn.Module]) -> Any:
        """Return the module that a node calls, if nothing else does and it is at one place."""
        if node.op != "call_module":
            return None
        module = self._modules[node.target]
        alone = self._calls[module] == 1 and len(self._slots.get(module, ())) == 1
        return module if alone and type(module) in kinds else None

    def _norm(self, node: fx.Node) -> nn.BatchNorm2d | None:
        norm: nn.BatchNorm2d | None = self._called(node, nn.BatchNorm2d)
        fits = norm is not None and norm.running_mean is not None and not watched(norm)
        return norm if fits else None

    def _addition(self, layer: fx.Node, last: fx.Node) -> tuple[fx.Node | None, fx.Node | None]:
        """Return the addition of a residual that follows, and the residual."""
        user = only_user(last)
        if user is None or user.kwargs or len(user.args) != 2:
            return None, None
        is_addition = (user.op == "call_function" and user.target in _ADDITIONS) or (
            user.op == "call_method" and user.target in {"add", "add_"}
        )
        one, other = user.args
        residual = other if one is last else one
        if not is_addition or one is other or not isinstance(residual, fx.Node):
            return None, None
        # An in-place addition to the residual would be seen by whoever else reads that.
        writes_other = user.target in {operator.iadd, "add_"} and one is residual
        if writes_other and len(residual.users) > 1:
            return None, None
        return (user, residual) if self._may_wait(layer, user) else (None, None)

    def _may_wait(self, layer: fx.Node, until: fx.Node) -> bool:
        """Whether a layer may be called as late as that: nobody writes to its input before."""
        source = layer.args[0]
        if not isinstance(source, fx.Node):
            return False
        return not any(
            self._order[layer] < self._order[user] < self._order[until]
            and writes(user, self._modules)
            for user in source.users
        )

    def _activation(self, node: fx.Node) -> str | None:
        extra = {key: value for key, value in node.kwargs.items() if key != "inplace"}
        if extra or len(node.args) != 1:
            return None
        if node.op == "call_module":
            module = self._modules[node.target]
            plain = type(module) in _MODULES and not watched(module)
            exact = getattr(module, "approximate", "none") == "none"
            return _MODULES[type(module)] if plain and exact else None
        if node.op == "call_function":
            return _FUNCTIONS.get(node.target)
        return _METHODS.get(str(node.target)) if node.op == "call_method" else None

    def _rewire(
        self, node: fx.Node, addition: fx.Node | None, residual: fx.Node | None, last: fx.Node
    ) -> None:
        """Call the layer in the place of all of them, where the residual is known."""
        where = node if addition is None else addition
        with self._graph.inserting_before(where):
            args = (*node.args, residual) if residual is not None else node.args
            fused = self._graph.call_module(str(node.target), args)
        self._order[fused] = self._order[where]
        last.replace_all_uses_with(fused)
        for dead in _chain(node, last):
            self._graph.erase_node(dead)

    def _changes(
        self, layer: Any, norm: nn.BatchNorm2d | None, activation: str | None, residual: bool
    ) -> Fusion:
        weight, bias = (layer.weight, layer.bias) if norm is None else _folded(layer, norm)
        kind = FusedConv2d if isinstance(layer, nn.Conv2d) else FusedLinear
        fused: nn.Module = kind.of(layer, weight, bias, activation)
        changes: list[tuple[nn.Module, nn.Module]] = [(layer, fused)]
        if norm is not None:
            changes.append((norm, nn.Identity()))
        return Fusion(
            tuple(Change(*self._slots[old][0], old, new) for old, new in changes),
            int(norm is not None),
            int(residual),
            int(activation is not None),
        )


def _chain(first: fx.Node, last: fx.Node) -> Iterator[fx.Node]:
    """Yield the nodes from the last to the first, each one's predecessor being its user's input."""
    chain = [first]
    while chain[-1] is not last:
        chain.append(next(iter(chain[-1].users)))
    yield from reversed(chain)


def _folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return the weight and bias of a convolution with its BatchNorm (Ioffe and Szegedy 2015).

    ``gamma (conv(x) - mean) / sqrt(var + eps) + beta``, computed in fp64.
    """
    mean, var = norm.running_mean, norm.running_var
    assert mean is not None
    assert var is not None
    with torch.no_grad():
        factor = (var.double() + norm.eps).rsqrt()
        if norm.weight is not None:
            factor = factor * norm.weight.double()
        weight = conv.weight.double() * factor[:, None, None, None]
        shift = -mean.double() if conv.bias is None else conv.bias.double() - mean.double()
        bias = shift * factor
        if norm.bias is not None:
            bias = bias + norm.bias.double()
        dtype = conv.weight.dtype
        return nn.Parameter(weight.to(dtype)), nn.Parameter(bias.to(dtype))
