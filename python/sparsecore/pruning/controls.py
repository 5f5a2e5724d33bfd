"""Controls: what a pruning method is to be compared with before its masks get the credit.

Masks shuffled within each layer keep the layer-wise sparsity and nothing else; ``reinitialize``
keeps the masks and nothing of the weights; training from scratch gets the epochs of
``scratch_epochs``. ``scores.random`` is the control of a score.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from sparsecore.interop import is_tensor, torch_or_none
from sparsecore.pruning._numbers import integer

if TYPE_CHECKING:
    import torch

    from sparsecore.pruning._arrays import Array

__all__ = ["ScratchEpochs", "scratch_epochs", "shuffle_layerwise"]


@overload
def shuffle_layerwise(
    masks: Mapping[str, Array], *, generator: np.random.Generator | torch.Generator
) -> dict[str, Any]: ...
@overload
def shuffle_layerwise(masks: Array, *, generator: np.random.Generator | torch.Generator) -> Any: ...
def shuffle_layerwise(
    masks: Mapping[str, Array] | Array, *, generator: np.random.Generator | torch.Generator
) -> Any:
    """Put each layer's kept positions in random places of the same layer.

    Each set of places of that size is as likely; patterns (2:4, blocks) are not respected.

    Parameters
    ----------
    masks : array or tensor of bool, or mapping of str to them
        The mask of one layer, or those of several by name; any shapes. They stay as they are.
    generator : numpy.random.Generator or torch.Generator
        The source of randomness, of the kind of the masks. It is advanced.

    Returns
    -------
    array or tensor of bool, or dict of str to them
        Shape, kind and device of `masks`, and as many True in each.

    Raises
    ------
    TypeError
        A mask that is not a bool array or tensor, or a generator that is not of its kind.

    References
    ----------
    Frankle et al., "Pruning Neural Networks at Initialization: Why Are We Missing the Mark?",
    ICLR 2021, section 5; Su et al., "Sanity-Checking Pruning Methods: Random Tickets can Win the
    Jackpot", NeurIPS 2020.

    Examples
    --------
    >>> import numpy as np
    >>> mask = np.array([[True, True, False], [True, False, False]])
    >>> shuffled = shuffle_layerwise(mask, generator=np.random.default_rng(0))
    >>> shuffled.shape, int(shuffled.sum())
    ((2, 3), 3)
    """
    if isinstance(masks, Mapping):
        return {name: _shuffled(f"masks[{name!r}]", m, generator) for name, m in masks.items()}
    return _shuffled("masks", masks, generator)


def _shuffled(name: str, mask: Any, generator: Any) -> Any:
    torch = torch_or_none()
    is_torch = torch is not None and is_tensor(mask)
    if not (is_torch or isinstance(mask, np.ndarray)) or str(mask.dtype).split(".")[-1] != "bool":
        found = getattr(mask, "dtype", type(mask).__name__)
        msg = f"shuffle_layerwise: {name} is {found}, expected an array or tensor of bool"
        raise TypeError(msg)
    kind = torch.Generator if torch is not None and is_torch else np.random.Generator
    if not isinstance(generator, kind):
        msg = (
            f"shuffle_layerwise: generator is {type(generator).__module__}."
            f"{type(generator).__name__}, which does not fit {name}, a "
            f"{type(mask).__module__}.{type(mask).__name__}"
        )
        raise TypeError(msg)
    flat = mask.reshape(-1)
    if torch is not None and isinstance(generator, torch.Generator):
        places = torch.randperm(len(flat), generator=generator, device=generator.device)
        return flat[places.to(mask.device)].reshape(mask.shape)
    return flat[generator.permutation(len(flat))].reshape(mask.shape)


@dataclass(frozen=True, slots=True)
class ScratchEpochs:
    """For how many epochs a pruned network is trained from scratch.

    Attributes
    ----------
    e : int
        Scratch-E: as many as the large network.
    b : int
        Scratch-B: those of the same budget of computation.
    """

    e: int
    b: int


def scratch_epochs(
    epochs: int, *, dense_flops: int, pruned_flops: int, limit: int | None = 2
) -> ScratchEpochs:
    """Return the epochs of both budgets for training a pruned network from scratch.

    Parameters
    ----------
    epochs : int
        Of the large network's training, at least 1.
    dense_flops, pruned_flops : int
        Of one forward pass of the large and of the pruned network, in the same unit, above 0; see
        ``flops``.
    limit : int or None
        Scratch-B is at most this many times `epochs`. The paper has 2 on ImageNet, and None, no
        limit, on CIFAR.

    Returns
    -------
    ScratchEpochs
        Scratch-B is rounded down, so that it never costs more than the large network's training.

    Raises
    ------
    ValueError
        A number out of range, or a pruned network that costs more than the large one.
    TypeError
        A number that is not an integer.

    References
    ----------
    Liu et al., "Rethinking the Value of Network Pruning", ICLR 2019, section 3 (training budget).

    Examples
    --------
    >>> scratch_epochs(160, dense_flops=313, pruned_flops=206)
    ScratchEpochs(e=160, b=243)
    """
    given = {"epochs": epochs, "dense_flops": dense_flops, "pruned_flops": pruned_flops}
    epochs, dense, pruned = (integer(n, name=f"scratch_epochs: {k}") for k, n in given.items())
    if limit is not None:
        limit = integer(limit, name="scratch_epochs: limit", what="an integer or None")
    if epochs < 1 or not 0 < pruned <= dense or (limit is not None and limit < 1):
        msg = (
            f"scratch_epochs: epochs is {epochs}, dense_flops {dense}, pruned_flops {pruned}, "
            f"limit {limit}; expected epochs >= 1, 0 < pruned_flops <= dense_flops, limit >= 1"
        )
        raise ValueError(msg)
    same_budget = epochs * dense // pruned
    return ScratchEpochs(epochs, same_budget if limit is None else min(same_budget, limit * epochs))
