"""A model's forward as a graph of torch.fx, as far as its Python can be followed."""

import operator
from collections.abc import Iterator
from typing import Any

import torch
from torch import fx, nn

from sparsecore.nn.layers import watched

__all__ = ["is_leaf", "traced"]


def traced(model: nn.Module) -> fx.Graph | None:
    """Return the graph of a model's forward; None where its Python cannot be followed."""
    if isinstance(model, nn.ModuleList | nn.ModuleDict | torch.jit.ScriptModule):
        return None
    before = dict(vars(model))
    try:
        return _Tracer().trace(model)
    except Exception:  # whatever the model's own code raises when it meets a proxy
        return None
    finally:
        vars(model).update(before)


def is_leaf(module: nn.Module) -> bool:
    """Whether a module is called as it is: torch's and our own layers."""
    is_container = isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict)
    home = f"{type(module).__module__}."
    return home.startswith(("torch.", "sparsecore.nn.")) and not is_container


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002
        # What has hooks is called as it is.
        return is_leaf(m) or watched(m) or "forward" in vars(m)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """Let the first sizes of a shape be unpacked, as in ``x.reshape(*x.shape[:2], -1)``."""
        count = _sizes_taken(node)
        return super().proxy(node) if count is None else _Sizes(node, self, count)


class _Sizes(fx.Proxy):
    """So many sizes of a tensor."""

    def __init__(self, node: fx.Node, tracer: fx.Tracer, count: int) -> None:
        super().__init__(node, tracer)
        self._count = count

    def __len__(self) -> int:
        # Of a tensor with fewer axes it is less, which the traced code would not notice. (A
        # TypeError, as unpacking asks for a hint and goes on without one after that alone.)
        msg = "the number of sizes is known with the tensor only"
        raise TypeError(msg)

    def __iter__(self) -> Iterator[fx.Proxy]:
        return (self.__getitem__(i) for i in range(self._count))


def _sizes_taken(node: fx.Node) -> int | None:
    """Return n of ``x.shape[:n]`` and ``x.size()[:n]``."""
    if node.target is not operator.getitem or not isinstance(node.args[0], fx.Node):
        return None
    source: Any = node.args[0]
    part: Any = node.args[1]
    is_size = source.op == "call_method" and source.target == "size" and len(source.args) == 1
    is_shape = source.target is getattr and source.args[1] == "shape"
    if not (is_size or is_shape) or not isinstance(part, slice):
        return None
    known = part.start is None and part.step is None and isinstance(part.stop, int)
    return part.stop if known and part.stop >= 0 else None
