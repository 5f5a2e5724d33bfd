"""Example inputs: how to run a model on them without leaving a trace."""

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Example", "undisturbed"]


@dataclass(frozen=True, slots=True)
class Example:
    """The arguments of a model's forward."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    @classmethod
    def of(cls, inputs: object, *, caller: str = "sparsify_") -> "Example":
        """Take a tensor (the only argument), a tuple (positional) or a dict (keywords).

        Raises
        ------
        TypeError
            If `inputs` is something else.
        """
        if isinstance(inputs, Tensor):
            return cls((inputs,), {})
        if isinstance(inputs, tuple):
            return cls(inputs, {})
        if isinstance(inputs, dict):
            return cls((), inputs)
        msg = (
            f"{caller}: example_inputs is a {type(inputs).__name__}, expected a tensor, a tuple "
            "of arguments or a dict of keyword arguments"
        )
        raise TypeError(msg)

    def copy(self) -> "Example":
        """Return an example with its own tensors, which a model may write to."""
        return self.map(lambda tensor: tensor.detach().clone())

    def map(self, change: Callable[[Tensor], Tensor]) -> "Example":
        """Return an example with other tensors in the same places."""
        return Example(_mapped(self.args, change), _mapped(dict(self.kwargs), change))

    def call(self, model: nn.Module) -> Any:
        """Run the model as it is."""
        return model(*self.args, **self.kwargs)

    def output(self, model: nn.Module) -> Any:
        """Run the model in eval mode on a copy, from the same random state, leaving no trace."""
        with undisturbed(model):
            return self.copy().call(model)


def _mapped(tree: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(tree, Tensor):
        return change(tree)
    if type(tree) in {tuple, list}:
        return type(tree)(_mapped(item, change) for item in tree)
    if type(tree) is dict:
        return {key: _mapped(value, change) for key, value in tree.items()}
    return tree


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Run a model in eval mode without gradients, and leave no trace of it.

    Training modes and other attributes, buffers and torch's generators, the CPU's and those of the
    model's devices, are put back. What a forward does inside an attribute (to a list that serves as
    a cache) is not.
    """
    modes = [(module, module.training) for module in model.modules()]
    # A scripted module keeps its attributes elsewhere.
    plain = [m for m in model.modules() if not isinstance(m, torch.jit.ScriptModule)]
    attributes = [(module, dict(vars(module)), dict(module._buffers)) for module in plain]
    copies = [(buffer, _version(buffer), buffer.clone()) for buffer in model.buffers()]
    try:
        model.eval()
        with torch.no_grad(), torch.random.fork_rng(devices=_devices(model)):
            yield
    finally:
        for module, own, buffers in attributes:
            _restore(vars(module), own)
            _restore(module._buffers, buffers)
        for module, training in modes:
            module.training = training
        with torch.inference_mode():  # the only mode that may write to buffers made in it
            for buffer, version, copy in copies:
                if version is None or version != _version(buffer):
                    buffer.copy_(copy)


def _devices(model: nn.Module) -> list[torch.device]:
    """Return the CUDA devices that a model lies on."""
    tensors = (*model.parameters(), *model.buffers())
    return list(dict.fromkeys(tensor.device for tensor in tensors if tensor.is_cuda))


def _restore(entries: MutableMapping[str, Any], before: Mapping[str, Any]) -> None:
    for name in entries.keys() - before.keys():
        del entries[name]
    entries.update(before)


def _version(tensor: Tensor) -> int | None:
    """Count the writes to a tensor; None where torch does not."""
    return None if tensor.is_inference() else tensor._version
