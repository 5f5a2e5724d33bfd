"""What a model's values depend on, shown by NaN: what stays finite where all else is NaN does not.

Two runs of the model, with operations watched one by one below torch's autograd. In one all inputs
are NaN, so that what is finite where a layer reads it is a constant of the parameters
(`constant_inputs`). In the other the units in question give NaN and layers read constants in their
place, so that an output that is not NaN does not know of them (`leak`). A zero weight times NaN is
NaN, so what a layer mixes is NaN as soon as one of its parts is.

Operations of which torch's kernels are known to hand NaN on, from each element to those that depend
on it, run as they are. Any other gives nothing but NaN as soon as one of its operands has some.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from sparsecore.nn.example import Example, undisturbed

__all__ = ["Layer", "Untraceable", "constant_inputs", "leak", "rows"]

Layer = nn.Linear | nn.modules.conv._ConvNd
"""Layers whose units are rows of their weight."""

# Elementwise, or sums over a window or a row, or rearrangements.
_EXACT = frozenset(
    [
        *("convolution", "_convolution", "mkldnn_convolution", "addmm", "mm", "bmm", "baddbmm"),
        *("relu", "gelu", "silu", "sigmoid", "tanh", "hardtanh", "hardswish", "hardsigmoid"),
        *("leaky_relu", "elu", "softplus", "_prelu_kernel", "exp", "neg", "add", "sub", "mul"),
        *("div", "mean", "sum", "native_batch_norm", "cudnn_batch_norm", "native_layer_norm"),
        *("_native_batch_norm_legit", "_native_batch_norm_legit_no_training"),
        *("avg_pool2d", "avg_pool3d", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d"),
        *("max_pool2d_with_indices", "max_pool3d_with_indices", "upsample_nearest2d"),
        *("upsample_bilinear2d", "constant_pad_nd", "cat", "stack", "view", "_unsafe_view"),
        *("_reshape_alias", "t", "transpose", "permute", "slice", "select", "squeeze"),
        *("unsqueeze", "expand", "split", "split_with_sizes", "unbind", "detach", "alias"),
        *("clone", "copy", "_to_copy", "lift_fresh", "empty_like", "zeros_like", "ones_like"),
    ]
)
# In units of the last place: what kernels do at the end of a vector may differ by rounding.
_ROUNDING = 8


class Untraceable(ValueError):
    """What a model computes cannot be followed."""


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Let NaN spread to everything that depends on it."""

    def __init__(self, *, integers: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        # Whether integers, bools and random numbers, which cannot be NaN, count as it.
        self.integers = integers

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        given = kwargs or {}
        if func is torch.ops.aten._local_scalar_dense.default:
            return self._read(func, args, given)
        marked = any(self._is_marked(t) for t in _tensors((args, given)))
        # Random numbers are no constants either.
        marked |= self.integers and torch.Tag.nondeterministic_seeded in func.tags
        out = func(*args, **given)
        name = func.overloadpacket.__name__.removesuffix("_")  # in place, too
        if not marked or (name in _EXACT and not self._any_integers((args, given))):
            return out
        for tensor in _tensors(out):
            if tensor.is_floating_point():
                tensor.fill_(torch.nan)
            elif not self.integers:
                msg = f"aten.{name} makes {tensor.dtype} of it, through which nothing is followed"
                raise Untraceable(msg)
        return out

    def _read(self, func: Any, args: Any, kwargs: Any) -> Any:
        if any(self._is_marked(t) for t in _tensors((args, kwargs))):
            msg = "the model's Python reads a value (Tensor.item(), bool()) and may act on it"
            raise Untraceable(msg)
        return func(*args, **kwargs)

    def _any_integers(self, tree: Any) -> bool:
        return self.integers and any(not t.is_floating_point() for t in _tensors(tree))

    def _is_marked(self, tensor: Tensor) -> bool:
        if tensor.is_floating_point():
            return bool(tensor.isnan().any())
        return self.integers


def _tensors(tree: Any) -> Iterator[Tensor]:
    return (leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor))


def _axis(layer: nn.Module, t: Tensor) -> int:
    """Return the axis of a layer's input or output along which its units or channels lie."""
    if isinstance(layer, nn.modules.conv._ConvNd):
        return t.ndim - 1 - len(layer.kernel_size)
    return t.ndim - 1 if isinstance(layer, nn.Linear) else 1


def rows(layer: Layer) -> Tensor:
    """Return the weight as (out, in / groups, ...), also of a transposed convolution's."""
    weight = layer.weight.detach()
    return weight.transpose(0, 1) if getattr(layer, "transposed", False) else weight


def constant_inputs(
    model: nn.Module,
    example: Example,
    layers: Sequence[Layer],
    dead: Mapping[nn.Module, Tensor],
) -> dict[Layer, Tensor]:
    """Return what each channel of each layer's input always is; NaN where it is no constant.

    Parameters
    ----------
    model : torch.nn.Module
    example : Example
        Constants hold for inputs of its shapes; its numbers are not looked at.
    layers : sequence of layer
        Whose inputs are asked for; those that are not called are not in the answer.
    dead : mapping of module to bool tensor (out,)
        The units of layers and BatchNorms that give their bias, whatever comes, since their weights
        are all zero.

    Returns
    -------
    dict of layer to tensor (in,), float64

    Raises
    ------
    Untraceable
        If the model's Python acts on values.
    """
    found: dict[Layer, Tensor] = {}

    def read(layer: Any, args: Any) -> None:
        value = _constant(layer, args[0])
        if layer in found:  # called several times
            value = torch.where(found[layer] == value, value, torch.nan)
        found[layer] = value

    def give(layer: Any, _: Any, output: Tensor) -> Tensor:
        mask = dead[layer]
        bias = torch.zeros(()) if layer.bias is None else layer.bias.detach()
        shape = [1] * output.ndim
        shape[_axis(layer, output)] = -1
        return torch.where(mask.view(shape), bias.to(output).expand_as(mask).view(shape), output)

    with _hooked(layers, before=read), _hooked(dead, after=give), undisturbed(model):
        blank = example.map(_blank)
        with _Watch(integers=True):
            blank.call(model)
    return found


def leak(
    model: nn.Module,
    example: Example,
    given: Mapping[Layer, Sequence[int]],
    read: Mapping[Layer, Mapping[int, float]],
) -> str | None:
    """Say how the model's output depends on some units but through the channels that are named.

    Parameters
    ----------
    given : mapping of layer to sequence of int
        The units, which give NaN.
    read : mapping of layer to mapping of int to float
        Channels of a layer's input, and what the layer gets there instead.

    Returns
    -------
    str or None
        None if it does not depend on them.
    """

    def give(layer: Any, _: Any, output: Tensor) -> Tensor:
        index = torch.tensor(given[layer], device=output.device)
        return output.index_fill(_axis(layer, output), index, torch.nan)

    def replace(layer: Any, args: Any) -> Any:
        x = args[0].clone()
        axis = _axis(layer, x)
        for channel, value in read[layer].items():
            x.select(axis, channel).fill_(value)
        return (x, *args[1:])

    with _hooked(given, after=give), _hooked(read, before=replace), undisturbed(model):
        try:
            with _Watch(integers=False):
                output = example.copy().call(model)
        except Untraceable as error:
            return str(error)
    reference = example.output(model)
    for tensor, expected in zip(_tensors(output), _tensors(reference), strict=True):
        if tensor.is_floating_point() and bool((tensor.isnan() & ~expected.isnan()).any()):
            return "the model's output depends on it in another way"
    return None


@contextmanager
def _hooked(
    layers: Iterable[nn.Module],
    *,
    before: Callable[..., Any] | None = None,
    after: Callable[..., Any] | None = None,
) -> Iterator[None]:
    """Have these called around the layers, unwatched."""
    handles = []
    for layer in layers:
        if before is not None:
            handles.append(layer.register_forward_pre_hook(partial(_unwatched, before)))
        if after is not None:
            handles.append(layer.register_forward_hook(partial(_unwatched, after)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _unwatched(hook: Callable[..., Any], *args: Any) -> Any:
    with _disable_current_modes():
        return hook(*args)


def _constant(layer: Layer, x: Tensor) -> Tensor:
    """Return the one value of each channel; NaN where there are several, or none."""
    flat = x.detach().movedim(_axis(layer, x), 0).flatten(1).double()
    if not flat.shape[1]:
        msg = "the example has no elements where a layer reads it, expected one sample at least"
        raise Untraceable(msg)
    low, high = flat.amin(1), flat.amax(1)  # NaN, where there is one
    allowed = _ROUNDING * torch.finfo(x.dtype).eps * torch.maximum(low.abs(), high.abs())
    return torch.where(high - low <= allowed, (low + high) / 2, torch.nan)


def _blank(tensor: Tensor) -> Tensor:
    return torch.full_like(tensor, torch.nan) if tensor.is_floating_point() else tensor
