"""The arguments of `sparsify_`: what can be asked for, of which model."""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from torch import nn
from torch.nn.parameter import is_lazy

from sparsecore.nn.candidates import kernel_obstacle
from sparsecore.nn.choose import Layer
from sparsecore.nn.report import Format, check_choices
from sparsecore.nn.stored_values import StoredValues, checked_form

__all__ = ["Policy", "check_given", "check_initialized", "check_values", "given_choices"]

Policy: TypeAlias = Literal["measured", "always"] | Mapping[str, Format]


def check_initialized(model: nn.Module, *, caller: str) -> None:
    """Raise ValueError where a lazy module of the model never ran."""
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(tensor):
            msg = f"{caller}: {name} of the model has no shape yet: run the model once first"
            raise ValueError(msg)


def given_choices(policy: Policy, choices: Mapping[str, Format] | None) -> dict[str, Format]:
    """Return the choices that were made in advance."""
    if isinstance(policy, str) and policy not in {"measured", "always"}:
        msg = (
            f"sparsify_: policy is {policy!r}, expected 'measured', 'always' or a mapping of layer "
            "name to format"
        )
        raise ValueError(msg)
    given = {} if isinstance(policy, str) else check_choices(policy, name="sparsify_: policy")
    return given | check_choices(choices or {}, name="sparsify_: choices")


def check_values(values: StoredValues | None, *, trainable: bool) -> None:
    """Raise ValueError where values cannot be stored so."""
    if checked_form(values, name="sparsify_: values") is not None and trainable:
        msg = f"sparsify_: values is {values!r}, which is for running: give trainable=False, too"
        raise ValueError(msg)


def check_given(given: Mapping[str, Format], layers: Sequence[Layer]) -> None:
    """Raise ValueError where a choice cannot be carried out, naming the layer."""
    known = {layer.site.name: layer for layer in layers}
    for name, choice in given.items():
        if name not in known:
            kinds = "nn.Linear or nn.Conv2d"
            msg = f"sparsify_: the choices name {name!r}, which is no {kinds} of the model"
            raise ValueError(msg)
        if choice == "dense":
            continue
        layer = known[name]
        reason = layer.obstacle or kernel_obstacle(layer.site.dense, choice)
        if reason is not None:
            msg = f"sparsify_: layer {name!r} cannot become {choice}: {reason}"
            raise ValueError(msg)
