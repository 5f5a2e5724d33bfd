"""Questions about the nodes of a traced graph."""

from collections.abc import Mapping

from torch import fx, nn

__all__ = ["only_user", "writes"]


def only_user(node: fx.Node) -> fx.Node | None:
    """Return the node that reads a node, if it is the only one."""
    return next(iter(node.users)) if len(node.users) == 1 else None


def writes(node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    """Whether a node may write to what it reads, as far as its name or its module says."""
    if node.op == "call_module":
        return bool(getattr(modules[str(node.target)], "inplace", False))
    name = node.target if isinstance(node.target, str) else node.target.__name__
    return name.endswith("_") or name.startswith("i") or bool(node.kwargs.get("inplace"))
