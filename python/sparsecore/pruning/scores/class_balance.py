"""Batches with as many samples of each class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
        The first axis counts samples.
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
        A class has too few samples, targets are no vector of integers, or a number is out of range.

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


def _check(targets: Tensor, per_class: int, batches: int) -> None:
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
