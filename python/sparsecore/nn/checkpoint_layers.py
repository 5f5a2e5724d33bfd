"""Which layers of a model a checkpoint exchanges, and the sparse ones that take their places."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from sparsecore import interop
from sparsecore.checkpoint import Checkpoint
from sparsecore.files.checkpoint_header import Layer
from sparsecore.nn.candidates import kernel_obstacle
from sparsecore.nn.conv import CSRConv2d
from sparsecore.nn.layers import obstacle, uneven_padding
from sparsecore.nn.modules import CSRLinear, Sparse24Linear
from sparsecore.nn.place import obstacle_of_place
from sparsecore.nn.sparse24_conv import Sparse24Conv2d, has_24_kernel
from sparsecore.nn.sparse_conv import SparseConv2d
from sparsecore.nn.sparse_layer import SparseLayer
from sparsecore.nn.stored_values import StoredValues, dtype_name

__all__ = ["Exchange", "exchanges", "fill"]


@dataclass(frozen=True, slots=True)
class Exchange:
    """A layer of the file: its places in the model, and the sparse layer that goes there.

    `slots` is empty where the model has the sparse layer already.
    """

    name: str
    layer: Layer
    sparse: SparseLayer[Any]
    slots: tuple[tuple[nn.Module, str], ...]

    def take(self, old: nn.Module | None) -> None:
        """Make the sparse layer what `from_dense` would have made it of the layer in its place."""
        found = getattr(old, "activation", None)
        if found != self.layer.activation:
            msg = (
                f"layer {self.name!r} ends with {self.layer.activation} in the file, with {found} "
                "in the model"
            )
            raise ValueError(msg)
        if isinstance(old, nn.Linear | nn.Conv2d):
            sparse = self.sparse
            if sparse._scale is None:
                sparse.values.requires_grad_(old.weight.requires_grad)
            sparse.bias = old._parameters["bias"]
            sparse.activation, sparse.fused = found, self.layer.fused
            sparse.train(old.training)


def exchanges(model: nn.Module, layers: Mapping[str, Layer]) -> list[Exchange]:
    """Find the file's layers in a model, and make the sparse ones, without numbers.

    Raises
    ------
    ValueError
        Where a layer is missing, of another kind, shape or geometry, or has hooks; names it.
    """
    modules = dict(model.named_modules())
    slots: dict[nn.Module, list[tuple[nn.Module, str]]] = {}
    for parent in modules.values():
        for key, child in parent._modules.items():
            if child is not None:
                slots.setdefault(child, []).append((parent, key))
    found = []
    for name, layer in layers.items():
        module = modules.get(name)
        if module is None:
            msg = f"the model has no layer {name!r}, which is {layer.format} in the file"
            raise ValueError(msg)
        if isinstance(module, SparseLayer):
            _check_sparse(name, layer, module)
            found.append(Exchange(name, layer, module, ()))
        else:
            sparse = _sparse(name, layer, module)
            found.append(Exchange(name, layer, sparse, tuple(slots.get(module, ()))))
    return found


def fill(exchange: Exchange, checkpoint: Checkpoint) -> None:
    """Read a layer's weight; validated.

    Raises
    ------
    ValueError
        Where the tensors are no matrix of this format and shape.
    """
    parts = zip(exchange.layer.parts, exchange.layer.tensors(exchange.name), strict=True)
    state = {part: interop.as_tensor(checkpoint.files.read(name)) for part, name in parts}
    sparse = exchange.sparse
    _check_values(exchange, state["values"].dtype)
    if exchange.slots:
        sparse.values.data = sparse.values.data.to(state["values"].dtype)
        dtype = exchange.layer.dtype
        sparse._dtype = None if dtype is None else getattr(torch, dtype)
    try:
        sparse.load_state_dict(state, strict=False)
    except RuntimeError as fault:
        msg = f"layer {exchange.name!r}: {fault}"
        raise ValueError(msg) from fault


def _check_values(exchange: Exchange, found: torch.dtype) -> None:
    """Raise ValueError where values of this dtype are not what the file, or the layer, says."""
    layer, sparse = exchange.layer, exchange.sparse
    halves = (torch.float16, torch.bfloat16)
    if layer.is_scaled:
        allowed: tuple[torch.dtype, ...] = (torch.int8,)
    elif layer.dtype is not None:
        allowed = halves if exchange.slots else (sparse._values_dtype,)
        allowed = allowed if layer.dtype == "float32" else ()
    else:
        allowed = (torch.float64, torch.float32, *halves)
    if found not in allowed:
        expected = " or ".join(map(str, allowed)) or "another dtype than the layer's"
        msg = f"layer {exchange.name!r}: its values are {found}, expected {expected}"
        raise ValueError(msg)


# ---- one layer ----


def _sparse(name: str, layer: Layer, module: nn.Module) -> SparseLayer[Any]:
    """Return a sparse layer with the sizes of a dense one, which the file has, too."""
    kind = nn.Linear if len(layer.weight_shape) == 2 else nn.Conv2d
    if not isinstance(module, kind):
        msg = (
            f"layer {name!r} is a {type(module).__name__} in the model, expected nn.{kind.__name__}"
        )
        raise ValueError(msg)
    reason = obstacle(module)
    if reason is None and isinstance(module, nn.Conv2d):
        reason = uneven_padding(module)
    if reason is None and not name:
        reason = "the model is this layer itself: wrap it in torch.nn.Sequential"
    if reason is None and layer.format != "csr" and not has_24_kernel(module):
        reason = "only 1 x 1 convolutions without groups have a 2:4 kernel"
    if reason is None and not module.weight.is_meta:
        reason = obstacle_of_place(module) or kernel_obstacle(module, layer.format)
    if reason is not None:
        msg = f"layer {name!r} cannot become {layer.format}: {reason}"
        raise ValueError(msg)
    shape = tuple(module.weight.shape)
    if shape != layer.weight_shape:
        msg = f"layer {name!r} has a weight of {shape}, in the file of {layer.weight_shape}"
        raise ValueError(msg)
    sparse = _empty(layer, module).to(module.weight.device)
    if isinstance(sparse, SparseConv2d):
        _check_geometry(name, layer, sparse)
    return sparse


def _empty(layer: Layer, module: nn.Linear | nn.Conv2d) -> SparseLayer[Any]:
    values: StoredValues | None = "int8" if layer.is_scaled else None
    if isinstance(module, nn.Conv2d):
        conv = CSRConv2d if layer.format == "csr" else Sparse24Conv2d
        return conv._sized_as(module, values)
    cls = CSRLinear if layer.format == "csr" else Sparse24Linear
    return cls(module.in_features, module.out_features, bias=False, values=values)


def _check_geometry(name: str, layer: Layer, sparse: SparseConv2d[Any]) -> None:
    if layer.geometry is not None and layer.geometry != sparse.geometry:
        msg = f"layer {name!r} is {sparse.geometry} in the model, {layer.geometry} in the file"
        raise ValueError(msg)


def _check_sparse(name: str, layer: Layer, module: SparseLayer[Any]) -> None:
    """Raise ValueError where a sparse layer of the model is not that of the file."""
    if isinstance(module, SparseConv2d):
        _check_geometry(name, layer, module)
    dtype = None if module._dtype is None else dtype_name(module._dtype)
    own = (module._format, module._weight_shape(), module.activation, module.fused)
    own_values, saved_values = (dtype, module._scale is not None), (layer.dtype, layer.is_scaled)
    saved = (layer.format, layer.matrix_shape, layer.activation, layer.fused)
    if own_values != saved_values:
        msg = (
            f"layer {name!r} has the dtype and scale of {own_values} in the model, of "
            f"{saved_values} in the file"
        )
        raise ValueError(msg)
    if own != saved or isinstance(module, SparseConv2d) != (len(layer.weight_shape) == 4):
        msg = f"layer {name!r} is {own} in the model, {saved} in the file"
        raise ValueError(msg)
