"""From a live model to the facts of its layers, one weight at a time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

from sparsecore.diagnosis.counting import Counts
from sparsecore.diagnosis.facts import Bytes, LayerFacts, LayerUse, Mask, bytes_of
from sparsecore.diagnosis.recording import Effective, Seen, record
from sparsecore.diagnosis.structure import look_at, use_by_type
from sparsecore.diagnosis.tensor_counts import count_tensor
from sparsecore.nn.example import Example, undisturbed
from sparsecore.nn.layers import find_layers, obstacle
from sparsecore.nn.sparse_conv import SparseConv2d
from sparsecore.nn.sparse_layer import SparseLayer
from sparsecore.nn.stored_values import dtype_name

__all__ = ["Held", "ModelLayers", "held_by", "model_layers"]


@dataclass(frozen=True, slots=True)
class Held:
    """A tensor that a model holds, and the module that does."""

    module: nn.Module
    tensor: Tensor


@dataclass(frozen=True, slots=True)
class ModelLayers:
    """The layers of a model, and the operators that multiply by weights that are no tensors."""

    layers: list[LayerFacts]
    packed: tuple[str, ...]


def held_by(model: nn.Module) -> dict[str, Held]:
    """Return parameters, buffers and other tensors of a model by name, each tensor once.

    Tensors of sparse layers are left out.
    """
    found: dict[str, Held] = {}
    known: set[int] = set()
    for prefix, module in model.named_modules():
        if isinstance(module, SparseLayer):
            continue
        own = {**module._parameters, **module._buffers, **vars(module)}
        for key, tensor in own.items():
            if isinstance(tensor, Tensor) and id(tensor) not in known:
                known.add(id(tensor))
                found[f"{prefix}.{key}" if prefix else key] = Held(module, tensor)
    return found


def model_layers(
    model: nn.Module,
    example: Example | None,
    tell: Callable[[int, int, str], object],
) -> ModelLayers:
    """Find what is known of each weight of a model that takes part in a product.

    Parameters
    ----------
    model : torch.nn.Module
        Not changed. Without an example it is not run, either.
    example : Example or None
        Run once.
    tell : callable
        Called as ``tell(done, total, name)``.
    """
    held = held_by(model)
    tensors = {name: one.tensor for name, one in held.items()}
    sparse = {n: m for n, m in model.named_modules() if isinstance(m, SparseLayer)}
    calls: dict[str, list[int]] = {name: [] for name in sparse}
    if example is None:
        with undisturbed(model):
            seen, followed = look_at(model, tensors)
    else:
        seen, followed = _run(model, example, tensors, sparse, calls), frozenset(model.modules())
    obstacles = _obstacles(model)
    names = [name for name in held if _is_layer(name, held[name], seen, ran=example is not None)]
    total = len(names) + len(sparse)
    layers: list[LayerFacts] = []
    for name in names:
        tell(len(layers), total, name)
        known = held[name].module in followed
        facts = _facts(name, held[name], seen, obstacles, known=known, ran=example is not None)
        layers.append(facts)
    for name, layer in sparse.items():
        tell(len(layers), total, name)
        layers.append(_sparse_facts(name, layer, calls[name]))
    tell(total, total, "")
    return ModelLayers(layers, seen.packed)


def _run(
    model: nn.Module,
    example: Example,
    tensors: Mapping[str, Tensor],
    sparse: Mapping[str, SparseLayer[Any]],
    calls: Mapping[str, list[int]],
) -> Seen:
    """Run the example, and note the rows of sparse layers, whose kernels are not torch's."""

    def noting(name: str) -> Any:
        def note(module: Any, inputs: object, output: Tensor) -> None:  # noqa: ARG001
            calls[name].append(output.numel() // module._weight_shape()[0])

        return note

    handles = [layer.register_forward_hook(noting(name)) for name, layer in sparse.items()]
    copied = example.copy()
    try:
        with undisturbed(model):
            return record(tensors, lambda: copied.call(model))
    finally:
        for handle in handles:
            handle.remove()


def _is_layer(name: str, held: Held, seen: Seen, *, ran: bool) -> bool:
    """Whether a tensor is a weight: used in a product, or of a module whose type says so.

    Where no example ran, parameters of the model's own modules may be.
    """
    if name in seen.uses:
        return True
    own = held.module._parameters
    if held.tensor.ndim < 2 or not any(held.tensor is parameter for parameter in own.values()):
        return False
    # What torch's other modules hold, as LayerNorm does, is no weight of a product.
    is_own = not type(held.module).__module__.startswith("torch.")
    return use_by_type(held.module) is not None or (is_own and not ran)


def _obstacles(model: nn.Module) -> dict[int, str | None]:
    """Return for each plain layer's weight why it cannot be exchanged; None where it can."""
    found: dict[int, str | None] = {}
    for site in find_layers(model):
        weight = site.dense._parameters.get("weight")
        if weight is not None:
            reason = site.obstacle
            # A model that is one layer has nothing to exchange it in, which a wrapper mends.
            found[id(weight)] = reason if site.name else obstacle(site.dense)
    return found


def _facts(
    name: str,
    held: Held,
    seen: Seen,
    obstacles: Mapping[int, str | None],
    *,
    known: bool,
    ran: bool,
) -> LayerFacts:
    tensor, effective = held.tensor, seen.effective.get(name)
    use = seen.uses.get(name)
    reason = obstacles.get(id(tensor))
    if use is None:
        use = use_by_type(held.module)
        reason = reason or ("the example did not call it" if ran else None)
    mask = _mask(held.module, seen.masked.get(name))
    if effective is not None and mask is None:
        reason = f"it is computed in each forward ({effective.operator})"
    axis = None if use is None else use.reduction_axis
    shape, dtype, counts, itemsize = _weight(tensor, effective, axis)
    stored = _stored(tensor)
    return LayerFacts(
        name=name,
        shape=shape,
        dtype=dtype,
        stored=stored,
        counts=counts,
        nbytes=bytes_of(shape, counts.nonzeros, itemsize, _bytes(tensor)),
        use=use,
        masked=mask is not None if known else (True if mask else None),
        mask=mask,
        obstacle=None if mask is not None else reason,
        exchangeable=id(tensor) in obstacles if mask is None else mask.can_be_removed,
        device=str(tensor.device),
        counted=not tensor.is_meta or effective is not None,
    )


def _weight(
    tensor: Tensor, effective: Effective | None, summed_axis: int | None
) -> tuple[tuple[int, ...], str, Counts, int]:
    """Return shape, dtype, counts and bytes an element of a weight as its product meets it."""
    if effective is not None:
        dtype = effective.dtype
        return effective.shape, dtype_name(dtype), effective.counts, dtype.itemsize
    return (
        tuple(tensor.shape),
        dtype_name(tensor.dtype),
        count_tensor(tensor, summed_axis),
        tensor.dtype.itemsize,
    )


def _stored(tensor: Tensor) -> str:
    """Return "dense", or what torch calls the form of a tensor."""
    # isinstance also holds of what torch wraps: a quantized tensor that is marked as a parameter.
    if type(tensor) is not Tensor and not issubclass(type(tensor), nn.Parameter):
        return type(tensor).__name__
    if tensor.layout != torch.strided:
        return str(tensor.layout)
    return "dense"


def _bytes(tensor: Tensor) -> int:
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        parts = (tensor.values(), tensor.col_indices(), tensor.crow_indices())
        return sum(part.nbytes for part in parts)
    return tensor.numel() * tensor.element_size()


def _mask(module: nn.Module, operator: str | None) -> Mask | None:
    """Return how a mask is applied, and what to do; None where there is none."""
    if operator is None:
        return None
    hooks = module._forward_pre_hooks.values()
    if any(isinstance(hook, prune.BasePruningMethod) for hook in hooks):
        return Mask(
            f"by a hook of torch.nn.utils.prune ({operator})",
            "call torch.nn.utils.prune.remove(module, 'weight')",
            can_be_removed=True,
        )
    if isinstance(module, parametrize.ParametrizationList):
        return Mask(
            f"by a parametrization ({operator})",
            "call torch.nn.utils.parametrize.remove_parametrizations(module, 'weight')",
            can_be_removed=True,
        )
    return Mask(
        f"by {operator}",
        "multiply the weight by its mask once, keep the result, and take the mask out of forward",
    )


def _sparse_facts(name: str, layer: SparseLayer[Any], rows: Sequence[int]) -> LayerFacts:
    """Return the facts of a layer that is sparse already."""
    dense: Any = layer.to_dense()
    weight: Tensor = dense.weight.detach()
    counts = count_tensor(weight)
    geometry = layer.geometry if isinstance(layer, SparseConv2d) else None
    use = LayerUse(
        "linear" if geometry is None else "convolution",
        type(layer).__name__,
        1,
        groups=1 if geometry is None else geometry.groups,
        kernel_size=() if geometry is None else geometry.kernel_size,
        rows=tuple(rows),
        macs=sum(rows) * weight.numel() if rows else None,
    )
    shape = tuple(weight.shape)
    sizes = bytes_of(shape, counts.nonzeros, weight.element_size(), 0)
    return LayerFacts(
        name=name,
        shape=shape,
        dtype=dtype_name(weight.dtype),
        stored=layer._format,
        counts=counts,
        nbytes=Bytes(layer.nbytes, sizes.dense, sizes.csr, sizes.sparse24),
        use=use,
        masked=False,
        exchangeable=False,
        device=str(weight.device),
    )
