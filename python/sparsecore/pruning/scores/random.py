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
    weights: Mapping[str, Array], *, generator: np.random.Generator | torch.Generator
) -> dict[str, Any]:
    """Score each weight by an independent uniform draw: the control of every other score.

    Parameters
    ----------
    weights : mapping of str to array or tensor
        Only their shapes, kind and device matter.
    generator : numpy.random.Generator or torch.Generator
        The source of randomness, of the kind of the weights. It is advanced. Where a function of
        the weights alone is wanted, as by ``Pruner``, bind it with ``functools.partial``.

    Returns
    -------
    dict of str to array or tensor
        float64 in [0, 1), on the weights' device. float64 because float32 draws have only 2**24
        values, and large layers would be pruned by index where they tie.

    Raises
    ------
    TypeError
        `weights` is no mapping, or the generator is not of the kind of the weights.

    Examples
    --------
    >>> import numpy as np
    >>> drawn = random({"fc": np.ones((2, 3))}, generator=np.random.default_rng(0))
    >>> drawn["fc"].shape
    (2, 3)
    """
    check_mapping("random", weights)
    return {name: _draw(name, weight, generator) for name, weight in weights.items()}


def _draw(name: str, weight: Any, generator: Any) -> Any:
    torch = torch_or_none()
    if torch is not None and is_tensor(weight):
        if isinstance(generator, torch.Generator):
            drawn = torch.rand(
                weight.shape, dtype=torch.float64, device=generator.device, generator=generator
            )
            return drawn.to(weight.device)
    elif isinstance(generator, np.random.Generator) and isinstance(weight, np.ndarray):
        return np.asarray(generator.random(weight.shape))
    msg = (
        f"random: generator is {type(generator).__module__}.{type(generator).__name__}, "
        f"which does not fit {name}, a {type(weight).__module__}.{type(weight).__name__}"
    )
    raise TypeError(msg)
