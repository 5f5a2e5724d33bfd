"""Random: the control of every other score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsecore.interop import is_tensor, torch_or_none
from sparsecore.pruning._checks import check_mapping

if TYPE_CHECKING:
    import torch

    from sparsecore.pruning._arrays import Array

__all__ = ["random"]


def random(
    weights: Mapping[str, Array],
    *,
    generator: np.random.Generator | torch.Generator,
    group: Any = None,
) -> dict[str, Any]:
    """Score each weight by an independent uniform draw: the control of every other score.

    Parameters
    ----------
    weights : mapping of str to array or tensor
        Only their shapes, kind and device matter.
    generator : numpy.random.Generator or torch.Generator
        The source of randomness, of the kind of the weights. It is advanced. Where a function of
        the weights alone is wanted, as by ``Pruner``, bind it with ``functools.partial``.
    group : torch.distributed.ProcessGroup, optional
        Ranks that are to draw the same: the state of the generator is compared first. Of sharded
        weights each draws the whole and keeps its part.

    Returns
    -------
    dict of str to array or tensor
        float64 in [0, 1), on the weights' device. float64 because float32 draws have only 2**24
        values, and large layers would be pruned by index where they tie.

    Raises
    ------
    TypeError
        `weights` is no mapping, or the generator is not of the kind of the weights.
    RuntimeError
        On every rank of `group`: generators are not in the same state.

    Examples
    --------
    >>> import numpy as np
    >>> drawn = random({"fc": np.ones((2, 3))}, generator=np.random.default_rng(0))
    >>> drawn["fc"].shape
    (2, 3)
    """
    check_mapping("random", weights)
    if group is not None:
        _check_same_state(generator, group)
    return {name: _draw(name, weight, generator) for name, weight in weights.items()}


def _draw(name: str, weight: Any, generator: Any) -> Any:
    torch = torch_or_none()
    if torch is not None and is_tensor(weight):
        if isinstance(generator, torch.Generator):
            drawn = torch.rand(
                weight.shape, dtype=torch.float64, device=generator.device, generator=generator
            )
            return _like(drawn.to(weight.device), weight)
    elif isinstance(generator, np.random.Generator) and isinstance(weight, np.ndarray):
        return np.asarray(generator.random(weight.shape))
    msg = (
        f"random: generator is {type(generator).__module__}.{type(generator).__name__}, "
        f"which does not fit {name}, a {type(weight).__module__}.{type(weight).__name__}"
    )
    raise TypeError(msg)


def _like(drawn: Any, weight: Any) -> Any:
    """Return the part of this rank, placed as the weight, where that is sharded."""
    from sparsecore.pruning.wrapped_models import is_sharded

    if not is_sharded(weight):
        return drawn
    from sparsecore.pruning.dtensors import local_slices, placed_as

    return placed_as(drawn[local_slices(weight)], weight)


def _check_same_state(generator: Any, group: Any) -> None:
    import copy

    import torch

    from sparsecore.pruning.ranks import check_same_on_ranks

    if isinstance(generator, np.random.Generator):
        # What it would draw next stands for a state that has another form for each kind.
        state = torch.from_numpy(copy.deepcopy(generator).integers(2**63, size=4))
    else:
        state = generator.get_state()
    check_same_on_ranks(
        "random",
        {"generator": state},
        group=group,
        what="the states",
        expected="the same seed and the same draws on every rank",
    )
