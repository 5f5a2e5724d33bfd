"""Which layers of a model a checkpoint exchanges, and the sparse ones that take their places."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from sparsecore import interop
from sparsecore.checkpoint import Checkpoint
from sparsecore.files.checkpoint_header import TENSORS, Layer
from sparsecore.nn.conv import CSRConv2d
from sparsecore.nn.layers import obstacle, uneven_padding
from sparsecore.nn.modules import CSRLinear, Sparse24Linear
from sparsecore.nn.sparse_layer import SparseLayer

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
    parts = zip(TENSORS[exchange.layer.format], exchange.layer.tensors(exchange.name), strict=True)
    state = {part: interop.as_tensor(checkpoint.files.read(name)) for part, name in parts}
    sparse = exchange.sparse
    if exchange.slots:
        if not state["values"].is_floating_point():
            msg = f"layer {exchange.name!r}: its values are {state['values'].dtype}, not floating"
            raise ValueError(msg)
        sparse.values.data = sparse.values.data.to(state["values"].dtype)
    try:
        sparse.load_state_dict(state, strict=False)
    except RuntimeError as fault:
        msg = f"layer {exchange.name!r}: {fault}"
        raise ValueError(msg) from fault


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
    if reason is None and kind is nn.Conv2d and layer.format != "csr":
        reason = "convolutions have no 2:4 kernel"
    if reason is not None:
        msg = f"layer {name!r} cannot become {layer.format}: {reason}"
        raise ValueError(msg)
    shape = tuple(module.weight.shape)
    if shape != layer.weight_shape:
        msg = f"layer {name!r} has a weight of {shape}, in the file of {layer.weight_shape}"
        raise ValueError(msg)
    sparse = _empty(layer, module)
    if isinstance(sparse, CSRConv2d):
        _check_geometry(name, layer, sparse)
    return sparse


def _empty(layer: Layer, module: nn.Linear | nn.Conv2d) -> SparseLayer[Any]:
    if isinstance(module, nn.Conv2d):
        return CSRConv2d._sized_as(module)
    cls = CSRLinear if layer.format == "csr" else Sparse24Linear
    return cls(module.in_features, module.out_features, bias=False)


def _check_geometry(name: str, layer: Layer, sparse: CSRConv2d) -> None:
    if layer.geometry is not None and layer.geometry != sparse.geometry:
        msg = f"layer {name!r} is {sparse.geometry} in the model, {layer.geometry} in the file"
        raise ValueError(msg)


def _check_sparse(name: str, layer: Layer, module: SparseLayer[Any]) -> None:
    """Raise ValueError where a sparse layer of the model is not that of the file."""
    if isinstance(module, CSRConv2d):
        _check_geometry(name, layer, module)
    own = (module._format, module._weight_shape(), module.activation, module.fused)
    saved = (layer.format, layer.matrix_shape, layer.activation, layer.fused)
    if own != saved or isinstance(module, CSRConv2d) != (len(layer.weight_shape) == 4):
        msg = f"layer {name!r} is {own} in the model, {saved} in the file"
        raise ValueError(msg)
