"""A model without weights, some of which are there for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

__all__ = ["built_empty", "give", "loaded_when_called", "own_tensors", "take_back"]


def built_empty(build: Callable[[], nn.Module], device: torch.device) -> nn.Module:
    """Build a model whose parameters are on the meta device, and whose buffers are real.

    Unlike under ``torch.device("meta")`` buffers that no checkpoint holds, such as tables of rotary
    embeddings, get their values. At most one parameter is allocated at a time.

    Raises
    ------
    TypeError
        `build` does not return a module.
    """

    def to_meta(_module: nn.Module, _name: str, parameter: nn.Parameter) -> nn.Parameter | None:
        if parameter.is_meta:
            return None  # as it is, so that shared ones stay shared
        return nn.Parameter(parameter.detach().to("meta"), requires_grad=parameter.requires_grad)

    # torch's annotation knows of no result, its documentation does.
    handle = register_module_parameter_registration_hook(to_meta)  # type: ignore[arg-type]
    try:
        model = build()
    finally:
        handle.remove()
    if not isinstance(model, nn.Module):
        msg = f"prune_blocks: build returned a {type(model).__name__}, expected a torch module"
        raise TypeError(msg)
    for module in model.modules():
        for name, buffer in module._buffers.items():
            if buffer is not None and not buffer.is_meta:
                module._buffers[name] = buffer.to(device)
    return model


def own_tensors(module: nn.Module, prefix: str) -> dict[str, Tensor]:
    """Return the parameters and buffers that a checkpoint holds of a module, not of its children.

    By their names in the whole model, whose name of the module is `prefix`.
    """
    buffers = {
        name: buffer
        for name, buffer in module._buffers.items()
        if name not in module._non_persistent_buffers_set
    }
    own = {**module._parameters, **buffers}
    dot = f"{prefix}." if prefix else ""
    return {f"{dot}{name}": tensor for name, tensor in own.items() if tensor is not None}


def give(module: nn.Module, prefix: str, tensors: Mapping[str, Tensor]) -> None:
    """Let a module have these tensors, by their names in the whole model, in place of its own."""
    start = len(prefix) + 1 if prefix else 0
    state = {name[start:]: tensor for name, tensor in tensors.items()}
    module.load_state_dict(state, strict=False, assign=True)


def take_back(module: nn.Module, prefix: str, names: Mapping[str, object]) -> None:
    """Let a module have tensors without values again."""
    held = {
        name: tensor
        for part, child in module.named_modules(prefix=prefix)
        for name, tensor in own_tensors(child, part).items()
        if name in names
    }
    give(module, prefix, {name: torch.empty_like(x, device="meta") for name, x in held.items()})


@contextmanager
def loaded_when_called(
    model: nn.Module, inside: Mapping[str, nn.Module], read: Callable[[str], Tensor | None]
) -> Iterator[None]:
    """Read a module's own tensors when it is called; at the end all are given back.

    Parameters
    ----------
    model : torch.nn.Module
    inside : mapping of str to module
        The blocks, which are left alone with all that is in them.
    read : callable
        Returns a tensor by its name, or None where there is none.
    """
    left_out = {id(module) for block in inside.values() for module in block.modules()}
    given: dict[str, tuple[nn.Module, dict[str, Tensor]]] = {}

    def load(prefix: str, module: nn.Module) -> None:
        if prefix in given:
            return
        found = {name: read(name) for name in own_tensors(module, prefix)}
        given[prefix] = module, {name: x for name, x in found.items() if x is not None}
        give(module, prefix, given[prefix][1])

    handles = [
        module.register_forward_pre_hook(lambda m, _, prefix=prefix: load(prefix, m))
        for prefix, module in model.named_modules()
        if id(module) not in left_out
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for prefix, (module, tensors) in given.items():
            take_back(module, prefix, tensors)
