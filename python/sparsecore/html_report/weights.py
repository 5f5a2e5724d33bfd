"""From weights to a page's part: pictures of chosen layers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from math import prod
from typing import Any

from sparsecore.html_report.density_map import Weight
from sparsecore.html_report.numbers import count
from sparsecore.html_report.page import Part, Section
from sparsecore.html_report.pictures import mask_figure

__all__ = ["Weights", "named", "weights_of", "weights_part"]

# Drawn where none are named, and at the most: a picture takes up to 60 kB.
_DRAWN, MOST_DRAWN = 6, 48


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights by their layers' names, each read when it is drawn.

    Attributes
    ----------
    shapes : mapping of str to tuple of int
        Of those with two or more dimensions.
    read : callable
        From a name to the weight.
    """

    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[[str], Weight]


def weights_of(source: Any) -> Weights:
    """Return the weights of a model, an open file of weights, or a mapping.

    Parameters
    ----------
    source : torch.nn.Module, WeightFiles, Checkpoint, or mapping of str to matrix or array
        Of names that end in ``.weight`` the rest is the layer's name.

    Raises
    ------
    TypeError
        If it is something else.
    """
    if hasattr(source, "named_modules"):
        return _of_modules(dict(source.named_modules()))
    if not isinstance(source, Mapping):
        msg = (
            f"weights is a {type(source).__name__}, expected a model, a file of weights or a "
            "mapping of names to matrices"
        )
        raise TypeError(msg)
    read = getattr(source, "read", source.__getitem__)
    names = {_layer_name(str(name), source): name for name in source}
    drawable: dict[str, tuple[int, ...]] = {}
    for name, key in names.items():
        weight = source[key]
        shape = tuple(weight.shape)
        is_listed_only = not getattr(weight, "is_readable", True)  # as an entry of a file may be
        if len(shape) > 1 and 0 not in shape and not is_listed_only:
            drawable[name] = shape
    return Weights(drawable, lambda name: read(names[name]))


def _layer_name(name: str, names: Mapping[Any, object]) -> str:
    layer = name.removesuffix(".weight")
    return name if layer in names else layer


def _of_modules(modules: Mapping[str, Any]) -> Weights:
    readers: dict[str, Callable[[], Weight]] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for name, module in modules.items():
        if hasattr(module, "matrix"):  # a sparse layer
            readers[name], shapes[name] = module.matrix, module._weight_shape()
        elif len(shape := tuple(getattr(getattr(module, "weight", None), "shape", ()))) > 1:
            readers[name], shapes[name] = partial(_detached, module), shape
    return Weights(shapes, lambda name: readers[name]())


def _detached(module: Any) -> Any:
    return module.weight.detach()


def named(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Return the names that one of the patterns fits, in their order.

    Raises
    ------
    ValueError
        If a pattern fits none.

    Examples
    --------
    >>> named(["conv1", "fc1", "fc2"], ["fc*"])
    ['fc1', 'fc2']
    """
    for pattern in patterns:
        if not any(_fits(name, pattern) for name in names):
            known = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
            msg = f"layers: {pattern!r} fits no layer that can be drawn: {known or 'there is none'}"
            raise ValueError(msg)
    return [name for name in names if any(_fits(name, pattern) for pattern in patterns)]


def _fits(name: str, pattern: str) -> bool:
    return name == pattern or fnmatchcase(name, pattern)


def weights_part(weights: Weights, names: Sequence[str] | None, likely: Sequence[str] = ()) -> Part:
    """Return the pictures of weights.

    Parameters
    ----------
    weights : Weights
    names : sequence of str, or None
        The layers to draw; None: the largest ones.
    likely : sequence of str
        Layers to choose the largest ones from, where some of them are there.
    """
    shapes = weights.shapes
    if names is not None:
        wanted = [name for name in shapes if name in names]
        chosen, which = wanted[:MOST_DRAWN], "first"
    else:
        wanted = [name for name in shapes if name in likely] or list(shapes)
        largest = sorted(wanted, key=lambda name: -prod(shapes[name]))[:_DRAWN]
        chosen, which = [name for name in wanted if name in largest], "largest"
    if not chosen:
        return Part()
    figures = tuple(mask_figure(name, weights.read(name)) for name in chosen)
    is_part = len(chosen) < len(wanted)
    text = (f"The {which} {len(chosen)} of {count(len(wanted), 'layer')}.",) * is_part
    return Part(sections=(Section("Where the weights are", text, figures=figures),))
