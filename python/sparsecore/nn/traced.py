"""Questions about the nodes of a traced graph."""

from collections.abc import Mapping

from torch import fx, nn

from sparsecore.nn.layers import watched

__all__ = ["only_user", "writes"]


def only_user(node: fx.Node) -> fx.Node | None:
    """Return the node that reads a node, if it is the only one."""
    return next(iter(node.users)) if len(node.users) == 1 else None


def writes(node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    """Whether a node may write to what it reads, as far as its name or its module says.

    Hooks, and forwards of others than torch, may do what they like.
    """
    if node.op == "call_module":
        module = modules[str(node.target)]
        is_known = type(module).__module__.startswith(("torch.", "sparsecore."))
        is_plain = is_known and not watched(module) and "forward" not in vars(module)
        return not is_plain or bool(getattr(module, "inplace", False))
    name = node.target if isinstance(node.target, str) else node.target.__name__
    options = node.kwargs
    is_named_so = name.endswith("_") or name.startswith("i")
    return is_named_so or bool(options.get("inplace")) or options.get("out") is not None
