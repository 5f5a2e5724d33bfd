"""Layers that follow one another, called as one function."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from sparsecore import interop
from sparsecore.nn.chain_native import NativeChain
from sparsecore.nn.chain_steps import Step

__all__ = ["LayerChain"]


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
        self._native: NativeChain | None = None

    def bound_to(self, root: nn.Module) -> "LayerChain":
        """Return the same of this module's layers."""
        other = LayerChain(self.__name__, self.inputs, self.steps, self.outputs)
        other._root = root
        return other

    def __call__(self, *inputs: Tensor) -> Any:
        """Return the output, or the tuple of several."""
        if interop.is_plain(inputs[0]):
            try:
                native = self._current()
                if native is not None and native.takes(inputs):
                    return native.run(inputs)
            except (TypeError, ValueError):
                pass  # what does not fit a layer, that says itself when it is called alone
        return self._one_by_one(inputs)

    def _current(self) -> NativeChain | None:
        """Return what runs the layers as they are now; None where they cannot be run together."""
        native = self._native
        if native is None or not native.is_current():
            assert self._root is not None
            native = NativeChain.of(
                self._root, self.inputs, self.steps, self._operations(), self.outputs
            )
            self._native = native
        return native

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
        """Return each step's module, or what it does without one."""
        assert self._root is not None
        return [
            self._root.get_submodule(step.operation)
            if isinstance(step.operation, str)
            else step.operation
            for step in self.steps
        ]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy what is bound and made again."""
        return LayerChain, (self.__name__, self.inputs, self.steps, self.outputs)


def _last_use(steps: Sequence[Step], outputs: Sequence[int]) -> dict[int, int]:
    """Return the step after which a value is not needed; none for an output."""
    last = {read: number for number, step in enumerate(steps) for read in step.reads()}
    return last | dict.fromkeys(outputs, len(steps))
