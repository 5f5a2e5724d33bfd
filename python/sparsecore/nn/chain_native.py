"""A chain's layers as the core runs them: in one call, while they are what they were."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from sparsecore import _core, interop
from sparsecore.cuda.plan import DevicePlan
from sparsecore.nn.chain_steps import Pooled, Step, Subsampled
from sparsecore.nn.conv import CSRConv2d
from sparsecore.nn.csr_layer import CSRLayer
from sparsecore.nn.layers import watched
from sparsecore.nn.modules import CSRLinear

__all__ = ["NativeChain", "kind_of"]

CONVOLUTIONS, LINEAR, SILENT = "convolutions", "linear layers", "silent"
_KINDS: dict[type, str] = {
    CSRConv2d: CONVOLUTIONS,
    CSRLinear: LINEAR,
    nn.MaxPool2d: CONVOLUTIONS,
    nn.Identity: SILENT,
}
# Of images that are pooled. (The core has no maximum of narrower numbers.)
_POOLED_DTYPES = (torch.float32, torch.float64)


def kind_of(module: nn.Module) -> str | None:
    """Return what a module can be chained with; None where it has to be called by itself."""
    kind = _KINDS.get(type(module))
    if kind is None or watched(module) or "forward" in vars(module):
        return None
    if isinstance(module, CSRLayer):
        if module._plan is None or isinstance(module._plan._plan, DevicePlan):
            return None
        return kind if "bias" in module._parameters else None
    if isinstance(module, nn.MaxPool2d):
        return kind if Pooled.of_module(module) is not None else None
    return kind


@dataclass(frozen=True, slots=True)
class _HeldLayer:
    """A layer as it was when it became part of a chain."""

    layer: Any
    plan: Any
    activation: str | None
    bias: Tensor | None
    scale: Tensor | None
    memory: tuple[int, ...]

    def is_current(self) -> bool:
        """Whether it still is that."""
        own, bias, scale = self.layer.__dict__, self.bias, self.scale
        return (  # asked in each call: attributes take longer
            own.get("_plan") is self.plan
            and own["_parameters"].get("bias") is bias
            and own["_buffers"].get("scale") is scale
            and _memory(bias, scale) == self.memory
            and own.get("activation") == self.activation
            and _is_unwatched(own)
        )


@dataclass(frozen=True, slots=True)
class _HeldModule:
    """A module without parameters as it was when it became part of a chain."""

    module: Any
    pooled: Pooled | None

    def is_current(self) -> bool:
        """Whether it still is that."""
        is_same = self.pooled is None or Pooled.of_module(self.module) == self.pooled
        return is_same and _is_unwatched(self.module.__dict__)


def _is_unwatched(own: dict[str, Any]) -> bool:
    """Whether a call does what the class's forward does, of a module with these attributes."""
    return not (own["_forward_hooks"] or own["_forward_pre_hooks"] or "forward" in own)


class NativeChain:
    """A chain's layers as the core runs them."""

    def __init__(
        self,
        held: Sequence[_HeldLayer | _HeldModule],
        places: Sequence["_Place"],
        steps: "_CoreSteps",
        outputs: Sequence[int],
    ) -> None:
        layers = [one for one in held if isinstance(one, _HeldLayer)]
        self._held = tuple(held)
        self._places = tuple(places)
        self._biases = tuple(layer.bias for layer in layers)
        self._like = layers[0].plan._like
        # Autocast would bring images into the dtype of each layer.
        self._is_mixed = len({layer.plan.dtype for layer in layers}) > 1
        self._takes_images = isinstance(layers[0].layer, CSRConv2d)
        self._pools = steps.pools
        # Where sums are fp64, layers leave other activations than ReLU to torch.
        self._is_smooth = any(layer.activation not in {None, "relu"} for layer in layers)
        numbers = [steps.numbers[number] for number in outputs]
        self._results = tuple(dict.fromkeys(numbers))
        # Which result is which output; None where they are the same.
        self._spread = (
            None
            if list(self._results) == numbers
            else tuple(self._results.index(number) for number in numbers)
        )
        self._chain = _core.Chain(steps.inputs, steps.given, list(self._results))

    @classmethod
    def of(
        cls,
        root: nn.Module,
        inputs: int,
        steps: Sequence[Step],
        operations: Sequence[Any],
        outputs: Sequence[int],
    ) -> Self | None:
        """Make the layers ready; None where one of them has to be called by itself."""
        modules = [operation for operation in operations if isinstance(operation, nn.Module)]
        kinds = {kind_of(module) for module in modules} - {SILENT}
        layers: list[Any] = [module for module in modules if isinstance(module, CSRLayer)]
        if not layers or len(kinds) > 1 or None in kinds:
            return None
        given = _CoreSteps(inputs, layers[0]._dtype or layers[0]._plan._like.dtype)
        fits = all(map(given.add, steps, operations))
        if not fits or any(given.numbers[number] < inputs for number in outputs):
            return None
        names = [step.operation for step in steps if isinstance(step.operation, str)]
        return cls([_held(module) for module in modules], _places(root, names), given, outputs)

    def is_current(self) -> bool:
        """Whether the module's layers still are what they were."""
        for siblings, key, module in self._places:
            if siblings.get(key) is not module:
                return False
        return all(held.is_current() for held in self._held)

    def takes(self, inputs: Sequence[Tensor]) -> bool:
        """Whether torch need not see what is done with the inputs, and they go side by side."""
        if torch_module._global_forward_hooks or torch_module._global_forward_pre_hooks:
            return False
        biases = self._biases if torch.is_grad_enabled() else ()
        if not all(interop.is_direct(self._like, x, None, *biases) for x in inputs):
            return False
        if self._pools and any(x.dtype not in _POOLED_DTYPES for x in inputs):
            return False
        if self._is_smooth and any(x.dtype == torch.float64 for x in inputs):
            return False
        if self._is_mixed and torch.is_autocast_enabled("cpu"):
            return False
        first = inputs[0]
        if self._takes_images:
            return all(x.ndim == 4 and x.shape[0] == first.shape[0] for x in inputs)
        return first.ndim > 0 and all(x.shape[:-1] == first.shape[:-1] for x in inputs[1:])

    def run(self, inputs: Sequence[Tensor]) -> Any:
        """Return the output, or the tuple of several."""
        results = _core.run_chain(self._chain, None, *inputs)
        if self._spread is None:
            return results
        every = results if len(self._results) > 1 else (results,)
        return tuple(every[i] for i in self._spread)


class _CoreSteps:
    """The steps as the core takes them."""

    def __init__(self, inputs: int, dtype: torch.dtype) -> None:
        self.inputs = inputs
        self.given: list[tuple[Any, ...]] = []
        # Of the values, in the core: a silent module's result is what it was given.
        self.numbers = list(range(inputs))
        self.pools = False
        self._dtype = dtype
        self._channels: list[int | None] = [None] * inputs  # of the values, where they are known

    def add(self, step: Step, operation: Any) -> bool:
        """Add a step; False where the core cannot do it."""
        if isinstance(operation, CSRLayer):
            # Detached: of the same memory, which stays while the chain does.
            vectors = [
                None if v is None else v.detach() for v in (operation._scale, operation.bias)
            ]
            plan: Any = operation._plan
            self._append(step, plan._plan, plan.shape[0], (*vectors, operation.activation))
            return True
        channels = self._channels[step.input]
        if step.residual is not None:
            return False
        if isinstance(operation, nn.Identity):
            self.numbers.append(self.numbers[step.input])
            self._channels.append(channels)
            return True
        if isinstance(operation, Subsampled):
            if channels is None:
                return False
            plan = operation.plan(channels, self._dtype)
            self._append(step, plan._plan, plan.shape[0], pads=True)
            return True
        is_module = isinstance(operation, nn.MaxPool2d)
        pooled = Pooled.of_module(operation) if is_module else operation
        assert isinstance(pooled, Pooled)
        self._append(step, _core.MaxPool(pooled.kernel, pooled.stride, pooled.padding), channels)
        self.pools = True
        return True

    def _append(
        self,
        step: Step,
        run: Any,
        channels: int | None,
        epilogue: tuple[Any, ...] = (None, None, None),
        *,
        pads: bool = False,
    ) -> None:
        residual = None if step.residual is None else self.numbers[step.residual]
        self.numbers.append(self.inputs + len(self.given))
        self._channels.append(channels)
        self.given.append((run, self.numbers[step.input], residual, *epilogue, pads))


def _held(module: Any) -> _HeldLayer | _HeldModule:
    if isinstance(module, CSRLayer):
        bias, scale = module.bias, module._scale
        memory = _memory(bias, scale)
        return _HeldLayer(module, module._plan, module.activation, bias, scale, memory)
    is_pool = isinstance(module, nn.MaxPool2d)
    return _HeldModule(module, Pooled.of_module(module) if is_pool else None)


def _memory(*vectors: Tensor | None) -> tuple[int, ...]:
    """Return where vectors lie, and how long they are."""
    found: list[int] = []
    for vector in vectors:
        if vector is not None:
            found += (vector.data_ptr(), vector.numel())
    return tuple(found)


# A module's siblings with it, its name among them, and itself.
_Place = tuple[dict[str, Any], str, nn.Module]


def _places(root: nn.Module, names: Sequence[str]) -> list[_Place]:
    """Return every module on the way to these, and where its parent has it."""
    places: dict[str, _Place] = {}
    for name in names:
        module, path = root, ""
        for key in name.split("."):
            path = f"{path}.{key}"
            siblings: dict[str, Any] = module._modules
            module = siblings[key]
            places[path] = (siblings, key, module)
    return list(places.values())
