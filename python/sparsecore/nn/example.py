"""Example inputs: how to call a model with them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from sparsecore.nn.layers import undisturbed

__all__ = ["Example"]


@dataclass(frozen=True, slots=True)
class Example:
    """The arguments of a model's forward."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    @classmethod
    def of(cls, inputs: object) -> "Example":
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
            f"sparsify_: example_inputs is a {type(inputs).__name__}, expected a tensor, a tuple "
            "of arguments or a dict of keyword arguments"
        )
        raise TypeError(msg)

    def copy(self) -> "Example":
        """Return an example with its own tensors, which a model may write to."""
        return Example(_cloned(self.args), _cloned(dict(self.kwargs)))

    def call(self, model: nn.Module) -> Any:
        """Run the model as it is."""
        return model(*self.args, **self.kwargs)

    def output(self, model: nn.Module) -> Any:
        """Run the model in eval mode on a copy, from the same random state, leaving no trace."""
        with undisturbed(model):
            return self.copy().call(model)


def _cloned(tree: Any) -> Any:
    if isinstance(tree, Tensor):
        return tree.detach().clone()
    if type(tree) in {tuple, list}:
        return type(tree)(_cloned(item) for item in tree)
    if type(tree) is dict:
        return {key: _cloned(value) for key, value in tree.items()}
    return tree
