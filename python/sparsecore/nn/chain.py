"""Sparse layers that follow one another, run in one native call."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from sparsecore import _core, interop
from sparsecore.nn.conv import CSRConv2d
from sparsecore.nn.csr_layer import CSRLayer
from sparsecore.nn.layers import watched
from sparsecore.nn.modules import CSRLinear

__all__ = ["LayerChain", "Step", "kind_of"]


@dataclass(frozen=True, slots=True)
class Step:
    """A layer's call. Values are numbered: the chain's inputs, then each step's result."""

    name: str  # of the layer, in the module that the chain is bound to
    input: int
    residual: int | None


def kind_of(layer: nn.Module) -> str | None:
    """Return which layers a layer can be chained with; None where it has to be called by itself."""
    kinds: dict[type, str] = {CSRConv2d: "convolutions", CSRLinear: "linear layers"}
    kind = kinds.get(type(layer))
    fits = (
        isinstance(layer, CSRLayer)
        and layer._plan is not None
        and layer.activation in {None, "relu"}
        and "forward" not in vars(layer)
        and "bias" in layer._parameters
        and not watched(layer)
    )
    return kind if fits else None


class LayerChain:
    """A function of tensors: layers of a module that read one another's results.

    Where torch must see the layers' calls, or a layer is no longer what it was when this was made,
    they are called one by one.
    """

    def __init__(
        self, name: str, inputs: int, steps: tuple[Step, ...], outputs: tuple[int, ...]
    ) -> None:
        # What torch.fx calls a function in the code that it generates.
        self.__name__ = self.__qualname__ = name
        self.__module__ = __name__
        self.inputs = inputs
        self.steps = steps
        self.outputs = outputs
        self._root: nn.Module | None = None
        self._native: _Native | None = None

    def bound_to(self, root: nn.Module) -> "LayerChain":
        """Return the same of this module's layers."""
        other = LayerChain(self.__name__, self.inputs, self.steps, self.outputs)
        other._root = root
        return other

    def __call__(self, *inputs: Tensor) -> Any:
        """Return the output, or the tuple of several."""
        if interop.is_plain(inputs[0]):
            if self._native is None or not self._native.is_current():
                self._native = self._made()
            if self._native is not None and self._native.takes(inputs):
                return _core.run_chain(self._native.chain, None, *inputs)
        return self._one_by_one(inputs)

    def _one_by_one(self, inputs: Sequence[Tensor]) -> Any:
        assert self._root is not None
        values: list[Any] = list(inputs)
        last_use = {}
        for number, step in enumerate(self.steps):
            last_use[step.input] = last_use[step.residual] = number
        for number, step in enumerate(self.steps):
            layer = self._root.get_submodule(step.name)
            x = values[step.input]
            residual = () if step.residual is None else (values[step.residual],)
            values.append(layer(x, *residual))
            for read in (step.input, step.residual):
                if read is not None and last_use[read] == number and read not in self.outputs:
                    values[read] = None
        outputs = tuple(values[number] for number in self.outputs)
        return outputs[0] if len(outputs) == 1 else outputs

    def _made(self) -> "_Native | None":
        assert self._root is not None
        layers = [self._root.get_submodule(step.name) for step in self.steps]
        if any(kind_of(layer) is None for layer in layers):
            return None
        return _Native(self, self._root, layers)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy what is bound and made again."""
        return LayerChain, (self.__name__, self.inputs, self.steps, self.outputs)


@dataclass(frozen=True, slots=True)
class _Held:
    """A layer as it was when it became part of a chain."""

    layer: Any
    plan: Any
    bias: Tensor | None
    address: int

    def is_current(self) -> bool:
        layer, bias = self.layer, self.bias
        return (
            layer._plan is self.plan
            and layer._parameters.get("bias") is bias
            and (bias is None or bias.data_ptr() == self.address)
            and not layer._forward_hooks
            and not layer._forward_pre_hooks
        )


class _Native:
    """A chain's layers as the core runs them."""

    def __init__(self, chain: LayerChain, root: nn.Module, layers: Sequence[Any]) -> None:
        self._held = tuple(
            _Held(
                layer,
                layer._plan,
                layer.bias,
                0 if layer.bias is None else layer.bias.data_ptr(),
            )
            for layer in layers
        )
        self._places = tuple(_places(root, [step.name for step in chain.steps]))
        # Detached: of the same memory, which stays while the chain does.
        steps = [
            (
                held.plan._plan,
                step.input,
                step.residual,
                None,
                None if held.bias is None else held.bias.detach(),
                held.layer.activation,
            )
            for held, step in zip(self._held, chain.steps, strict=True)
        ]
        self.chain = _core.Chain(chain.inputs, steps, list(chain.outputs))

    def is_current(self) -> bool:
        """Whether the module's layers still are what they were."""
        for siblings, key, module in self._places:
            if siblings.get(key) is not module:
                return False
        return all(held.is_current() for held in self._held)

    def takes(self, inputs: Sequence[Tensor]) -> bool:
        """Whether torch need not see what is done with the inputs."""
        if torch_module._global_forward_hooks or torch_module._global_forward_pre_hooks:
            return False
        like = self._held[0].plan._like
        biases = (held.bias for held in self._held) if torch.is_grad_enabled() else ()
        return all(interop.is_direct(like, x, None, *biases) for x in inputs)


def _places(root: nn.Module, names: Sequence[str]) -> list[tuple[dict[str, Any], str, nn.Module]]:
    """Return every module on the way to these, and where its parent has it."""
    places: dict[str, tuple[dict[str, Any], str, nn.Module]] = {}
    for name in names:
        module, path = root, ""
        for key in name.split("."):
            path = f"{path}.{key}"
            siblings: dict[str, Any] = module._modules
            module = siblings[key]
            places[path] = (siblings, key, module)
    return list(places.values())
