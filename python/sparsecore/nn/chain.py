"""Sparse layers that follow one another, run in one native call."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from sparsecore import _core, interop
from sparsecore.nn.chain_steps import Pooled, Step, Subsampled
from sparsecore.nn.conv import CSRConv2d
from sparsecore.nn.csr_layer import CSRLayer
from sparsecore.nn.layers import watched
from sparsecore.nn.modules import CSRLinear

__all__ = ["LayerChain", "kind_of"]


def kind_of(layer: nn.Module) -> str | None:
    """Return which layers a layer can be chained with; None where it has to be called by itself."""
    kinds: dict[type, str] = {CSRConv2d: "convolutions", CSRLinear: "linear layers"}
    kind = kinds.get(type(layer))
    fits = (
        isinstance(layer, CSRLayer)
        and layer._plan is not None
        and layer._scale is None
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
        self._last_use = _last_use(steps, outputs)
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
        values: list[Any] = list(inputs)
        for number, (step, operation) in enumerate(
            zip(self.steps, self._operations(), strict=True)
        ):
            values.append(step.run(operation, values))
            for read in step.reads():
                if self._last_use[read] == number:
                    values[read] = None
        outputs = tuple(values[number] for number in self.outputs)
        return outputs[0] if len(outputs) == 1 else outputs

    def _operations(self) -> list[Any]:
        """Return each step's layer, or what it does without one."""
        assert self._root is not None
        return [
            self._root.get_submodule(step.operation)
            if isinstance(step.operation, str)
            else step.operation
            for step in self.steps
        ]

    def _made(self) -> "_Native | None":
        operations = self._operations()
        layers = [layer for layer in operations if isinstance(layer, nn.Module)]
        if any(kind_of(layer) is None for layer in layers):
            return None
        assert self._root is not None
        return _Native(self, self._root, operations)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy what is bound and made again."""
        return LayerChain, (self.__name__, self.inputs, self.steps, self.outputs)


def _last_use(steps: Sequence[Step], outputs: Sequence[int]) -> dict[int, int]:
    """Return the step after which a value is not needed; none for an output."""
    last = {read: number for number, step in enumerate(steps) for read in step.reads()}
    return last | dict.fromkeys(outputs, len(steps))


@dataclass(frozen=True, slots=True)
class _Held:
    """A layer as it was when it became part of a chain."""

    layer: Any
    plan: Any
    bias: Tensor | None
    address: int

    def is_current(self) -> bool:
        """Whether it still is that."""
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

    def __init__(self, chain: LayerChain, root: nn.Module, operations: Sequence[Any]) -> None:
        layers: list[Any] = [layer for layer in operations if isinstance(layer, nn.Module)]
        names = [step.operation for step in chain.steps if isinstance(step.operation, str)]
        self._held = tuple(map(_held, layers))
        self._places = tuple(_places(root, names))
        self._like = layers[0]._plan._like
        pools = any(isinstance(operation, Pooled) for operation in operations)
        self._dtypes = {torch.float32, torch.float64} if pools else None
        steps: list[tuple[Any, ...]] = []
        channels: dict[int, int] = {}  # of the results where they are known
        for number, (step, operation) in enumerate(zip(chain.steps, operations, strict=True)):
            bias = activation = None
            result = chain.inputs + number
            if isinstance(operation, Pooled):
                run: Any = _core.MaxPool(operation.kernel, operation.stride, operation.padding)
                if step.input in channels:
                    channels[result] = channels[step.input]
            else:
                if isinstance(operation, Subsampled):
                    plan = operation.plan(channels[step.input], self._like.dtype)
                else:
                    plan, activation = operation._plan, operation.activation
                    # Detached: of the same memory, which stays while the chain does.
                    bias = None if operation.bias is None else operation.bias.detach()
                run, channels[result] = plan._plan, plan.shape[0]
            steps.append((run, step.input, step.residual, None, bias, activation))
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
        if self._dtypes is not None and any(x.dtype not in self._dtypes for x in inputs):
            return False
        biases = (held.bias for held in self._held) if torch.is_grad_enabled() else ()
        return all(interop.is_direct(self._like, x, None, *biases) for x in inputs)


def _held(layer: Any) -> _Held:
    bias = layer.bias
    return _Held(layer, layer._plan, bias, 0 if bias is None else bias.data_ptr())


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
