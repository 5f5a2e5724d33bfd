"""Which layers of a model can be exchanged, and what an example does with them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

from sparsecore.nn.fused import FusedConv2d, FusedLinear
from sparsecore.nn.place import obstacle_of_place

__all__ = [
    "Call",
    "Dense",
    "Site",
    "Use",
    "find_layers",
    "install",
    "observe",
    "obstacle",
    "watched",
]

Dense: TypeAlias = nn.Linear | nn.Conv2d

_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
_CPU = torch.device("cpu")
_DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True, slots=True)
class Site:
    """A linear layer or a convolution, and every place of the model that holds it."""

    name: str
    dense: Dense
    slots: tuple[tuple[nn.Module, str], ...]
    # Why the layer must stay as it is, or None.
    obstacle: str | None

    @property
    def weight_shape(self) -> tuple[int, int]:
        """Of the weight as a matrix: outputs, and what each of them sums up."""
        dense = self.dense  # whose weight may have to be computed
        if isinstance(dense, nn.Linear):
            return (dense.out_features, dense.in_features)
        columns = dense.in_channels // dense.groups * math.prod(dense.kernel_size)
        return (dense.out_channels, columns)

    def rows(self, call: "Call") -> int:
        """Return how often a call applies the weight: rows of a matrix, or pixels of the result."""
        if isinstance(self.dense, nn.Conv2d):
            return math.prod(call.result[:-3]) * math.prod(call.result[-2:])
        return math.prod(call.result[:-1])


@dataclass(frozen=True, slots=True)
class Call:
    """How a layer was called: what decides the time of a sparse one."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    result: tuple[int, ...]
    channels_last: bool = False
    # Whether a residual came with the input.
    residual: bool = False
    device: torch.device = _CPU


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
    if type(layer) not in {nn.Conv2d, nn.Linear, FusedConv2d, FusedLinear}:
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
    if layer.weight.layout != torch.strided:
        return f"its weight is a {layer.weight.layout} tensor: call .to_dense() on it first"
    return None


def watched(module: nn.Module) -> bool:
    """Whether hooks run around a module's forward or backward."""
    return any(getattr(module, kind) for kind in _HOOKS)


def _tensor_hooks(tensor: Tensor) -> bool:
    return bool(tensor._backward_hooks or tensor._post_accumulate_grad_hooks)


def find_layers(model: nn.Module) -> list[Site]:
    """Find every nn.Linear and nn.Conv2d of a model, each once, in the order of ``named_modules``.

    Found by type, never by name. A layer registered several times is one site with several slots.
    """
    names: dict[Dense, str] = {
        module: name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    }
    slots: dict[nn.Module, list[tuple[nn.Module, str]]] = {layer: [] for layer in names}
    for parent in model.modules():
        for key, child in parent._modules.items():
            if child is not None and child in slots:
                slots[child].append((parent, key))
    owners = _owners(model)
    return [
        Site(name, layer, tuple(slots[layer]), _site_obstacle(name, layer, owners))
        for layer, name in names.items()
    ]


def _site_obstacle(name: str, layer: Dense, owners: Mapping[int, Sequence[str]]) -> str | None:
    reason = obstacle(layer)
    if reason is not None:
        return reason
    if not name:
        return "the model is this layer itself: wrap it in torch.nn.Sequential"
    weight = layer.weight
    if (reason := obstacle_of_place(layer)) is not None:
        return reason
    if weight.dtype not in _DTYPES:
        return f"its weight is {weight.dtype}, which has no kernel"
    if isinstance(layer, nn.Conv2d) and (reason := uneven_padding(layer)) is not None:
        return reason
    others = [owner for owner in owners[_storage(weight)] if owner != f"{name}.weight"]
    if others:
        return f"its weight is tied: {', '.join(others)} shares its memory"
    return None


def uneven_padding(conv: nn.Conv2d) -> str | None:
    """Say why a sparse convolution could not pad as this one does; None where it can."""
    if conv.padding_mode != "zeros":
        return f"its padding_mode is {conv.padding_mode!r}, expected 'zeros'"
    spans = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
    if conv.padding == "same" and any(span % 2 for span in spans):
        return "its padding='same' is one more on one side, as its kernel spans an even number"
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

    def __init__(self, dense: Dense, use: Use) -> None:
        super().__init__()
        # Past nn.Module's bookkeeping: as a submodule it would change the model's names.
        vars(self).update(dense=dense, use=use, training=dense.training)
        for name in ("in_features", "out_features", "in_channels", "out_channels"):
            if hasattr(dense, name):
                setattr(self, name, getattr(dense, name))
        # A model may ask its parameters for their dtype: they are there, as a sparse layer's are.
        own = dense._parameters
        self._parameters.update(values=own["weight"], bias=own.get("bias"))

    def forward(self, input: Tensor, *residual: Tensor) -> Tensor:
        """Note the call and answer as the dense layer."""
        y: Tensor = self.dense(input, *residual)
        reason = _input_obstacle(input, self.dense)
        if reason is None:
            call = Call(
                tuple(input.shape),
                input.dtype,
                tuple(y.shape),
                channels_last=_is_channels_last(input),
                residual=bool(residual),
                device=input.device,
            )
            self.use.calls[call] = self.use.calls.get(call, 0) + 1
        else:
            self.use.obstacles.append(reason)
        return y

    def __getattr__(self, name: str) -> Any:
        """Note the reading of what a sparse layer does not have."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            value = getattr(self.dense, name)
            self.use.obstacles.append(
                f"the model reads its {name} directly, which a sparse layer does not have"
            )
            return value


def _is_channels_last(x: Tensor) -> bool:
    """Whether images have their channels together, as convolutions then leave them."""
    last = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)
    return last and not x.is_contiguous()


def _input_obstacle(x: Tensor, dense: Dense) -> str | None:
    weight = dense.weight
    if x.device != weight.device:
        return f"its input is on {x.device}, its weight on {weight.device}"
    if torch.is_autocast_enabled(x.device.type):
        return "the model calls it under autocast, which sparse layers do not follow"
    if x.is_nested or x.layout != torch.strided:
        return "its input is a nested or sparse tensor"
    if x.dtype != weight.dtype:
        return f"its input is {x.dtype}, its weight {weight.dtype}"
    return None


def observe(sites: Sequence[Site], run: Callable[[], Any]) -> dict[str, Use]:
    """Run a model once and return what became of each layer that has no obstacle.

    Parameters
    ----------
    sites : sequence of Site
        Of the model.
    run : callable
        Runs the model.

    Returns
    -------
    dict of str to Use
        By the sites' names.
    """
    probed = [site for site in sites if site.obstacle is None]
    uses = {site.name: Use({}, []) for site in probed}
    try:
        for site in probed:
            install(site, _Probe(site.dense, uses[site.name]))
        run()
        return uses
    finally:
        for site in probed:
            install(site, site.dense)
