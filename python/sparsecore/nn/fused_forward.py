"""The forward of a module whose layers were fused: code that torch.fx generates from its graph."""

import copy
import importlib
import inspect
from types import ModuleType
from typing import Any, Self

import torch
from torch import Tensor, fx, nn

from sparsecore.nn.chain import LayerChain
from sparsecore.nn.chaining import chained

__all__ = ["FusedForward"]


class FusedForward:
    """The forward of a module whose layers were fused: generated code, bound to the module."""

    def __init__(self, module: nn.Module, source: str, names: dict[str, Any]) -> None:
        self.channels_last = False
        self._graph: fx.Graph | None = None  # not of copies and pickles
        self._become(module, source, names)

    @classmethod
    def of(cls, module: nn.Module, graph: fx.Graph) -> Self:
        """Take the code of a graph."""
        forward = cls(module, *_code(graph))
        forward._graph = graph
        return forward

    def _become(self, module: nn.Module, source: str, names: dict[str, Any]) -> None:
        self._state = (module, source, names)
        scope: dict[str, Any] = {
            name: value.bound_to(module) if isinstance(value, LayerChain) else value
            for name, value in names.items()
        }
        exec(compile(source, "<sparsecore fused forward>", "exec"), scope)
        self._call = scope["forward"]
        # What `torch.export` reads of a forward.
        self.__code__ = self._call.__code__
        signature = inspect.signature(self._call)
        self.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])

    def chain(self, on: bool) -> None:
        """Run layers that follow one another in one call, as the module's are now, or each alone.

        Copies, and what was unpickled, stay as they are.
        """
        if self._graph is not None:
            module = self._state[0]
            graph = chained(self._graph, module) if on else self._graph
            self._become(module, *_code(graph))

    @property
    def chained(self) -> int:
        """The number of layers that are called with others."""
        return sum(len(v.steps) for v in self._state[2].values() if isinstance(v, LayerChain))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the module."""
        if self.channels_last:
            args = tuple(map(_channels_last, args))
            kwargs = {key: _channels_last(value) for key, value in kwargs.items()}
        return self._call(self._state[0], *args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> "FusedForward":
        """Bind the code to the copy of the module."""
        module, source, names = self._state
        other = FusedForward(copy.deepcopy(module, memo), source, names)
        other.channels_last = self.channels_last
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the source; of Python modules that it names, their names."""
        module, source, names = self._state
        packages = {k: v.__name__ for k, v in names.items() if isinstance(v, ModuleType)}
        rest = {k: v for k, v in names.items() if k not in packages}
        return _forward_of, (module, source, packages, rest, self.channels_last)


def _code(graph: fx.Graph) -> tuple[str, dict[str, Any]]:
    code = graph.python_code("self")
    return code.src, dict(code.globals)


def _forward_of(
    module: nn.Module,
    source: str,
    packages: dict[str, str],
    rest: dict[str, Any],
    channels_last: bool,
) -> FusedForward:
    names = {key: importlib.import_module(name) for key, name in packages.items()}
    forward = FusedForward(module, source, {**names, **rest})
    forward.channels_last = channels_last
    return forward


def _channels_last(x: Any) -> Any:
    is_images = isinstance(x, Tensor) and x.ndim == 4
    return x.contiguous(memory_format=torch.channels_last) if is_images else x
