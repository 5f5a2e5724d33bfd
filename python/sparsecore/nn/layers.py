"""Which linear layers of a model can be exchanged, and what an example does with them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

__all__ = ["Call", "Site", "Use", "find_linears", "install", "observe", "obstacle"]

_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
_DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True, slots=True)
class Site:
    """A linear layer and every place of the model that holds it."""

    name: str
    linear: nn.Linear
    slots: tuple[tuple[nn.Module, str], ...]
    # Why the layer must stay as it is, or None.
    obstacle: str | None


@dataclass(frozen=True, slots=True)
class Call:
    """How a layer was called: what decides the time of a sparse one."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def rows(self) -> int:
        """Rows of the matrix that the input is, its leading dimensions flattened."""
        return math.prod(self.shape[:-1])


@dataclass(frozen=True, slots=True)
class Use:
    """What one run of a model did with a layer."""

    # Each kind of call and how often it happened, in order of appearance.
    calls: dict[Call, int]
    # What a sparse layer could not have done.
    obstacles: list[str]


# ---- what can be exchanged ----


def obstacle(layer: nn.Linear | nn.Conv2d) -> str | None:
    """Say why exchanging `layer` would lose something, and what to do; None where it would not.

    A copy of the weight stands for the layer only where the weight is a plain Parameter and the
    forward is torch's own.
    """
    if parametrize.is_parametrized(layer):
        return (
            "its parameters are parametrized: call "
            "torch.nn.utils.parametrize.remove_parametrizations on it first"
        )
    plain = nn.Conv2d if isinstance(layer, nn.Conv2d) else nn.Linear
    if type(layer) is not plain:
        return (
            f"it is a {type(layer).__name__}, not a plain nn.{plain.__name__}: others may read its "
            "weight directly, as torch.nn.MultiheadAttention does"
        )
    if "forward" in vars(layer):
        return "its forward was replaced on the instance"
    hooks = [hook for kind in _HOOKS for hook in getattr(layer, kind).values()]
    if any(isinstance(hook, prune.BasePruningMethod) for hook in hooks):
        return "its mask is still applied in forward: call torch.nn.utils.prune.remove on it first"
    if hooks or _tensor_hooks(layer.weight):
        return "it has hooks, which would be lost: remove them first"
    if type(layer._parameters.get("weight")) is not nn.Parameter:
        return f"its weight is a {type(layer.weight).__name__}, not a plain Parameter"
    return None


def _tensor_hooks(tensor: Tensor) -> bool:
    return bool(tensor._backward_hooks or tensor._post_accumulate_grad_hooks)


def find_linears(model: nn.Module) -> list[Site]:
    """Find every nn.Linear of a model, each once, in the order of ``named_modules``.

    Found by type, never by name. A layer registered several times is one site with several slots.
    """
    names = {
        module: name for name, module in model.named_modules() if isinstance(module, nn.Linear)
    }
    slots: dict[nn.Module, list[tuple[nn.Module, str]]] = {linear: [] for linear in names}
    for parent in model.modules():
        for key, child in parent._modules.items():
            if child is not None and child in slots:
                slots[child].append((parent, key))
    owners = _owners(model)
    return [
        Site(name, linear, tuple(slots[linear]), _site_obstacle(name, linear, owners))
        for linear, name in names.items()
        if isinstance(linear, nn.Linear)
    ]


def _site_obstacle(name: str, linear: nn.Linear, owners: Mapping[int, Sequence[str]]) -> str | None:
    reason = obstacle(linear)
    if reason is not None:
        return reason
    if not name:
        return "the model is this layer itself: wrap it in torch.nn.Sequential"
    weight = linear.weight
    if weight.device.type != "cpu":
        return f"its weight is on {weight.device}, and the kernels run on the CPU"
    if weight.dtype not in _DTYPES:
        return f"its weight is {weight.dtype}, which has no kernel"
    others = [owner for owner in owners[_storage(weight)] if owner != f"{name}.weight"]
    if others:
        return f"its weight is tied: {', '.join(others)} shares its memory"
    return None


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _owners(model: nn.Module) -> dict[int, list[str]]:
    """Which parameters and buffers lie in each storage."""
    owners: dict[int, list[str]] = {}
    for prefix, module in model.named_modules():
        for name, tensor in (*module._parameters.items(), *module._buffers.items()):
            # Subclasses may have no storage to ask for.
            if type(tensor) in {Tensor, nn.Parameter} and tensor.layout == torch.strided:
                path = f"{prefix}.{name}" if prefix else name
                owners.setdefault(_storage(tensor), []).append(path)
    return owners


def install(site: Site, module: nn.Module) -> None:
    """Put `module` at every place of the model that held the layer."""
    for parent, key in site.slots:
        parent.register_module(key, module)


# ---- what an example does with them ----


class _Probe(nn.Module):
    """Stands where a sparse layer would stand, and notes what such a layer would have to do.

    A forward hook would not do: torch's fused transformer layers read the weights instead of
    calling the layers, except where a layer has hooks.
    """

    def __init__(self, linear: nn.Linear, use: Use) -> None:
        super().__init__()
        # Past nn.Module's bookkeeping: as a submodule it would change the model's names.
        vars(self).update(linear=linear, use=use, training=linear.training)
        self.in_features = linear.in_features
        self.out_features = linear.out_features
        # A model may ask its parameters for their dtype: they are there, as a sparse layer's are.
        self._parameters.update(values=linear._parameters["weight"], bias=linear.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Note the call and answer as the dense layer."""
        reason = _input_obstacle(input, self.linear.weight)
        if reason is None:
            call = Call(tuple(input.shape), input.dtype)
            self.use.calls[call] = self.use.calls.get(call, 0) + 1
        else:
            self.use.obstacles.append(reason)
        y: Tensor = self.linear(input)
        return y

    def __getattr__(self, name: str) -> Any:
        """Note the reading of what a sparse layer does not have."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            value = getattr(self.linear, name)
            self.use.obstacles.append(
                f"the model reads its {name} directly, which a sparse layer does not have"
            )
            return value


def _input_obstacle(x: Tensor, weight: Tensor) -> str | None:
    if torch.is_autocast_enabled("cpu"):
        return "the model calls it under autocast, which sparse layers do not follow"
    if x.is_nested or x.layout != torch.strided:
        return "its input is a nested or sparse tensor"
    if x.dtype != weight.dtype:
        return f"its input is {x.dtype}, its weight {weight.dtype}"
    return None


def observe(sites: Sequence[Site], run: Callable[[], Any]) -> tuple[Any, dict[str, Use]]:
    """Run a model once and return its output and what became of each layer that has no obstacle.

    Parameters
    ----------
    sites : sequence of Site
        Of the model.
    run : callable
        Runs the model.

    Returns
    -------
    output : object
        What `run` returned.
    uses : dict of str to Use
        By the sites' names.
    """
    probed = [site for site in sites if site.obstacle is None]
    uses = {site.name: Use({}, []) for site in probed}
    try:
        for site in probed:
            install(site, _Probe(site.linear, uses[site.name]))
        return run(), uses
    finally:
        for site in probed:
            install(site, site.linear)
