"""Which modules cannot lose channels, and why."""

from collections import Counter
from collections.abc import Mapping

from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from sparsecore.nn.dependencies import is_depthwise
from sparsecore.nn.fused import FusedConv2d, FusedLinear
from sparsecore.nn.layers import obstacle as layer_obstacle
from sparsecore.nn.sparse_layer import SparseLayer

__all__ = ["check_model", "obstacles"]


def obstacles(
    model: nn.Module, names: Mapping[nn.Module, str], *, balanced: bool
) -> dict[nn.Module, str]:
    """Say of each module that cannot be cut why.

    With `balanced`, each group of a convolution will lose as many channels as the others.
    """
    owners = Counter(id(p) for m in model.modules() for p in m._parameters.values())
    found: dict[nn.Module, str] = {}
    for module, name in names.items():
        own = [p for p in module._parameters.values() if p is not None]
        if isinstance(module, nn.Linear | nn.Conv2d):
            why = layer_obstacle(module)
        else:
            why = "it is parametrized" if is_parametrized(module) else None
        if why is not None:
            found[module] = f"{name} cannot be cut: {why}"
        elif any(owners[id(p)] > 1 for p in own):
            found[module] = f"{name} cannot be cut: another module has its Parameter, too"
        elif getattr(module, "groups", 1) > 1 and not is_depthwise(module):
            if not balanced:
                found[module] = f"{name} has groups, which all need the same number of channels"
            elif not _can_lose_of_each_group(module):
                found[module] = f"{name} has groups that cannot lose channels"
    return found


def check_model(caller: str, model: nn.Module) -> None:
    """Refuse what cannot lose channels as a whole.

    Raises
    ------
    TypeError
        It is no module.
    ValueError
        It has no values, or `sparsify_` has exchanged a layer already.
    """
    if not isinstance(model, nn.Module):
        msg = f"{caller}: model is {type(model).__name__}, expected a torch Module"
        raise TypeError(msg)
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.is_meta:
            msg = f"{caller}: {name} of the model is on the meta device, which has no values"
            raise ValueError(msg)
    for name, module in model.named_modules():
        if isinstance(module, SparseLayer | FusedConv2d | FusedLinear):
            msg = (
                f"{caller}: layer {name!r} is a {type(module).__name__}, which sparsify_ made: "
                f"call {caller} before sparsify_"
            )
            raise ValueError(msg)


def _can_lose_of_each_group(module: nn.Module) -> bool:
    """Whether a convolution's groups have several inputs and outputs each, so that some can go.

    Of groups with a single output the graph believes that they work on each channel alone.
    """
    if not isinstance(module, nn.modules.conv._ConvNd) or module.transposed:
        return False
    return module.groups not in {module.in_channels, module.out_channels}
