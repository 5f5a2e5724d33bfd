"""The layers of a model that dynamic sparse training works on."""

from __future__ import annotations

from torch import Tensor, nn
from torch.optim import Optimizer

from sparsecore.nn.csr_layer import CSRLayer
from sparsecore.pruning.claims import claimed
from sparsecore.pruning.csr_weight import CSRWeight

__all__ = ["csr_weights"]


def csr_weights(caller: str, model: nn.Module, optimizer: Optimizer) -> dict[str, CSRWeight]:
    """Return the weights of the CSR layers of a model that train, by the layers' names.

    Raises
    ------
    ValueError
        There is none; one cannot be trained as it is; the optimizer lacks one; two share their
        values; or another driver on this optimizer works on one.
    """
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    taken = claimed(optimizer)
    layers: dict[str, CSRLayer] = {}
    for name, layer in model.named_modules():
        if not isinstance(layer, CSRLayer):
            continue
        values = layer._parameters.get("values")
        if layer._scale is not None:
            continue  # int8, which is frozen
        reason = _obstacle(layer, values)
        if values is not None and not values.requires_grad and reason is None:
            continue  # frozen
        if reason is None and id(values) not in held:
            reason = "the optimizer does not hold its values: make the optimizer after the layer"
        if reason is None and id(values) in taken:
            reason = (
                f"another driver on this optimizer, a {taken[id(values)]}, works on it: call "
                "remove() of that one first"
            )
        if reason is None and any(values is other.values for other in layers.values()):
            reason = "its values are also another layer's"
        if reason is not None:
            msg = f"{caller}: layer {name!r}: {reason}"
            raise ValueError(msg)
        layers[name] = layer
    if not layers:
        msg = (
            f"{caller}: {type(model).__name__} has no CSRLinear or CSRConv2d that trains; make its "
            "layers sparse by sc.nn.sparse_init_ or sparsify_, or hand over masks= of dense ones"
        )
        raise ValueError(msg)
    return {name: CSRWeight(caller, name, layer) for name, layer in layers.items()}


def _obstacle(layer: CSRLayer, values: Tensor | None) -> str | None:
    if layer._plan is not None:
        return "it is prepared for running: call restore_() on it first"
    if values is None:
        return "its values are parametrized, expected a plain Parameter"
    if values.is_meta:
        return "its values are on the meta device, where they have none: call to_empty() first"
    if layer.activation is not None:
        return f"it ends with an activation, {layer.activation}: fused layers are for running"
    return None
