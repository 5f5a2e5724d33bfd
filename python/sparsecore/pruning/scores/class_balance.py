"""Batches with as many samples of each class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sparsecore.interop import is_tensor
from sparsecore.pruning._numbers import integer

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["class_balanced_batches"]


def class_balanced_batches(
    inputs: Any,
    targets: Tensor,
    *,
    per_class: int = 25,
    batches: int = 2,
    generator: torch.Generator,
) -> list[tuple[Any, Tensor]]:
    """Draw the same number of samples of each class, and spread them evenly over batches.

    Parameters
    ----------
    inputs : Tensor, or tuple or mapping of Tensor
        The first axis counts samples; tensors of another length go with every batch.
    targets : Tensor of int, shape (n,)
        The class of each sample. Classes are those that occur.
    per_class : int
        Samples of each class in all batches together, drawn without repetition.
    batches : int
        Number of batches; the first ones get one sample more of each class where it does not divide
        `per_class`.
    generator : torch.Generator
        The source of randomness. It is advanced.

    Returns
    -------
    list of (inputs, targets)
        In each batch classes in rising order.

    Raises
    ------
    ValueError
        A class has too few samples, targets are no vector of integers, no input has as many
        samples, or a number is out of range.
    TypeError
        An argument that is not of its kind.

    Examples
    --------
    >>> import torch
    >>> x, y = torch.arange(8.0), torch.tensor([0, 1, 0, 1, 0, 1, 0, 1])
    >>> drawn = class_balanced_batches(x, y, per_class=3, generator=torch.Generator())
    >>> [targets.tolist() for _, targets in drawn]
    [[0, 0, 1, 1], [0, 1]]
    """
    import torch

    from sparsecore.pruning.scores._batches import taken

    _check(targets, per_class, batches)
    if not any(shape[:1] == (len(targets),) for shape in _shapes(inputs)):
        msg = (
            f"class_balanced_batches: inputs have shapes {_shapes(inputs)}, targets "
            f"{len(targets)} samples; expected as many along a first axis"
        )
        raise ValueError(msg)
    if not isinstance(generator, torch.Generator):
        found = type(generator).__name__
        msg = f"class_balanced_batches: generator is {found}, expected a torch.Generator"
        raise TypeError(msg)
    parts: list[list[Tensor]] = [[] for _ in range(batches)]
    for number in sorted(set(targets.tolist())):
        places = (targets == number).nonzero().reshape(-1)
        if len(places) < per_class:
            msg = (
                f"class_balanced_batches: class {number} has {len(places)} samples, "
                f"per_class is {per_class}"
            )
            raise ValueError(msg)
        order = torch.randperm(len(places), generator=generator, device=generator.device)
        drawn = places[order[:per_class].to(places.device)]
        for part, some in zip(parts, drawn.tensor_split(batches), strict=True):
            part.append(some)
    chosen = [torch.cat(part) for part in parts]
    return [(taken(inputs, places, len(targets)), targets[places]) for places in chosen]


def _shapes(inputs: Any) -> list[tuple[int, ...]]:
    """Return the shapes of all tensors inside of tuples and mappings."""
    if isinstance(inputs, tuple | list | Mapping):
        parts = inputs.values() if isinstance(inputs, Mapping) else inputs
        return [shape for part in parts for shape in _shapes(part)]
    return [tuple(inputs.shape)] if is_tensor(inputs) else []


def _check(targets: Any, per_class: int, batches: int) -> None:
    import torch

    if not isinstance(targets, torch.Tensor):
        found = type(targets).__name__
        msg = f"class_balanced_batches: targets is {found}, expected a tensor of integers"
        raise TypeError(msg)
    per_class = integer(per_class, name="class_balanced_batches: per_class")
    batches = integer(batches, name="class_balanced_batches: batches")
    if targets.ndim != 1 or targets.is_floating_point() or not len(targets):
        msg = (
            f"class_balanced_batches: targets are {targets.dtype} of shape {tuple(targets.shape)}, "
            "expected integers of shape (n,)"
        )
        raise ValueError(msg)
    if not 1 <= batches <= per_class:
        msg = (
            f"class_balanced_batches: batches is {batches}, per_class {per_class}, expected "
            "1 <= batches <= per_class: each batch has samples of each class"
        )
        raise ValueError(msg)
