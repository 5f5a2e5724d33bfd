"""Cutting units out of a model's layers, and putting everything back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

from sparsecore.nn.accuracy import outputs_difference, tolerance
from sparsecore.nn.dead_units import Removal
from sparsecore.nn.dependencies import cut
from sparsecore.nn.example import Example
from sparsecore.nn.taint import Layer, leak, rows

__all__ = [
    "Attempt",
    "State",
    "attempt",
    "check_max_error",
    "cut_all",
    "joined",
    "restore",
    "state_of",
]

State = list[tuple[nn.Module, dict[str, Any], dict[str, Any], dict[str, Any]]]
"""Each module with its attributes, parameters and buffers."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of an attempt to remove units.

    Attributes
    ----------
    why : str or None
        Why they stay; None where they are gone.
    error : float
        The difference of the outputs, as `outputs_difference` measures it.
    allowed : float
        The largest one that rounding explains, in this and the attempts before.
    """

    why: str | None
    error: float
    allowed: float


def check_max_error(caller: str, max_error: object) -> None:
    """Raise ValueError unless the largest error allowed is a number of at least 0, or None."""
    if max_error is not None and not (isinstance(max_error, Real) and float(max_error) >= 0):
        msg = f"{caller}: max_error is {max_error!r}, expected a number of at least 0, or None"
        raise ValueError(msg)


def attempt(
    model: nn.Module,
    example: Example,
    removals: Sequence[Removal],
    reference: Any,
    *,
    allowed: float = 0.0,
    max_error: float | None = None,
) -> Attempt:
    """Remove units; where something else depends on them, say so and change nothing.

    Parameters
    ----------
    reference : output of the model
        What the outputs are compared with afterwards.
    allowed : float
        What rounding explains of their difference already.
    max_error : float, optional
        In the place of what rounding explains.
    """
    given, read = joined(removals)
    layers = {m: sorted(found) for m, found in given.items() if isinstance(m, Layer)}
    why = leak(model, example, layers, read)
    if why is not None:
        return Attempt(why, 0.0, allowed)
    saved = state_of(model)
    try:
        explained = allowed + cut_all(given, read)
        error = outputs_difference(example.output(model), reference)
    except Exception as problem:  # of any kind: the model's own code meets other shapes
        restore(saved)
        why = f"without it the model fails: {type(problem).__name__}: {problem}"
        return Attempt(why, 0.0, allowed)
    if error <= (explained if max_error is None else max_error):
        return Attempt(None, error, explained)
    restore(saved)
    return Attempt(f"without it the outputs differ by {error:.1e} of the largest", error, allowed)


def joined(
    removals: Sequence[Removal],
) -> tuple[dict[nn.Module, set[int]], dict[Layer, dict[int, float]]]:
    """Return all outputs that go, and all inputs with the constants that come from them."""
    given: dict[nn.Module, set[int]] = {}
    read: dict[Layer, dict[int, float]] = {}
    for removal in removals:
        for module, indices in removal.unit.given.items():
            given.setdefault(module, set()).update(indices)
        for layer, constants in removal.constants.items():
            read.setdefault(layer, {}).update(constants)
    return given, read


def cut_all(
    given: Mapping[nn.Module, set[int]], read: Mapping[Layer, Mapping[int, float]]
) -> float:
    """Cut all layers; return the largest error that rounding explains."""
    allowed = 0.0
    for layer, constants in read.items():
        allowed += tolerance(layer.weight.dtype, rows(layer)[0].numel())
        _take_constants(layer, constants)
        cut(layer, "in", sorted(constants))
    for module, indices in given.items():
        cut(module, "out", sorted(indices))
    return allowed


def _take_constants(layer: Layer, constants: Mapping[int, float]) -> None:
    """Add to a layer's bias what the constants contribute, summed in float64."""
    if not any(constants.values()):
        return
    weight = rows(layer)
    matrix = weight[:, list(constants)].double().reshape(len(weight), len(constants), -1).sum(2)
    values = torch.tensor(list(constants.values()), dtype=torch.float64, device=weight.device)
    old: Tensor | None = layer.bias
    added = matrix @ values + (0 if old is None else old.detach().double())
    needs = layer.weight.requires_grad if old is None else old.requires_grad
    layer.bias = nn.Parameter(added.to(weight.dtype), requires_grad=needs)


def state_of(model: nn.Module) -> State:
    """Return all that a cut may exchange; nothing is edited in place."""
    return [(m, dict(vars(m)), dict(m._parameters), dict(m._buffers)) for m in model.modules()]


def restore(state: State) -> None:
    """Make the modules what they were."""
    for module, own, parameters, buffers in state:
        for entries, before in (
            (vars(module), own),
            (module._parameters, parameters),
            (module._buffers, buffers),
        ):
            entries.clear()
            entries.update(before)
