"""Pruning scores: how much each weight is worth. Higher means keep.

A score is a function from ``{name: weight}`` to ``{name: array of the same shape}``. Scores are
compared as they are: a global allocation puts one threshold over all layers, with no hidden
normalisation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsecore.interop import is_tensor, torch_or_none
from sparsecore.pruning._arrays import as_float64
from sparsecore.pruning.scores.sparsegpt import sparsegpt as sparsegpt
from sparsecore.pruning.scores.wanda import wanda as wanda

if TYPE_CHECKING:
    import torch

    from sparsecore.pruning._arrays import Array


def magnitude(weights: Mapping[str, Array]) -> dict[str, Any]:
    """Score each weight by its absolute value.

    Parameters
    ----------
    weights : mapping of str to array or tensor
        Any shapes. Torch parameters may require grad; the scores do not.

    Returns
    -------
    dict of str to array or tensor
        The absolute values, of the same shape, kind, device and (for floating point) dtype.
        Integers are scored in float64, because int8 has no abs(-128).

    Raises
    ------
    TypeError
        `weights` is no mapping.

    References
    ----------
    Han et al., "Learning both Weights and Connections for Efficient Neural Networks",
    NeurIPS 2015, section 3.

    Examples
    --------
    >>> import numpy as np
    >>> magnitude({"fc": np.array([[-3.0, 1.0]])})
    {'fc': array([[3., 1.]])}
    """
    _check_mapping("magnitude", weights)
    return {name: abs(_as_floating(weight)) for name, weight in weights.items()}


def lamp(weights: Mapping[str, Array]) -> dict[str, Any]:
    """Score each weight by its square over the sum of the squares that are at least as large.

    Of its own layer: what pruning a weight would take from the layer as it then is, all smaller
    ones being gone. So layers of different scales and sizes can share one threshold (``global_``)
    or one budget (``latency``).

    Parameters
    ----------
    weights : mapping of str to array or tensor
        Any shapes.

    Returns
    -------
    dict of str to array or tensor
        float64 in [0, 1], on the weights' device: of small layers' distances float32 would keep
        few. The largest weight of each layer scores 1; of equal ones the earlier scores higher, as
        ``prune_mask`` breaks ties. Zeros score 0.

    Raises
    ------
    TypeError
        `weights` is no mapping.

    References
    ----------
    Lee et al., "Layer-adaptive Sparsity for the Magnitude-based Pruning", ICLR 2021
    (arXiv:2010.07611), equation 4.

    Examples
    --------
    >>> import numpy as np
    >>> lamp({"fc": np.array([1.0, 2.0, 3.0, 4.0])})["fc"].round(4)
    array([0.0333, 0.1379, 0.36  , 1.    ])
    """
    _check_mapping("lamp", weights)
    return {name: _lamp(weight) for name, weight in weights.items()}


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
    _check_mapping("random", weights)
    return {name: _draw(name, weight, generator) for name, weight in weights.items()}


def _lamp(weight: Any) -> Any:
    # In numpy for tensors, too: torch has no deterministic cumsum on CUDA.
    magnitudes = abs(as_float64(weight)).reshape(-1)
    largest = magnitudes.max(initial=0.0)
    # The squares of scaled ones do not overflow, and the score has no scale.
    squares = (magnitudes / largest) ** 2 if largest > 0 else magnitudes
    order = np.argsort(-squares, kind="stable")
    sums = np.cumsum(squares[order])
    score = np.empty_like(squares)
    score[order] = squares[order] / (sums if largest > 0 else 1.0)
    score = score.reshape(weight.shape)
    torch = torch_or_none()
    if torch is not None and is_tensor(weight):
        return torch.from_numpy(score).to(weight.device)
    return score


def _check_mapping(caller: str, weights: object) -> None:
    if not isinstance(weights, Mapping):
        msg = (
            f"{caller}: weights is {type(weights).__name__}, expected a mapping of name to array, "
            "such as {'weight': array}"
        )
        raise TypeError(msg)


def _as_floating(weight: Any) -> Any:
    if is_tensor(weight):
        weight = weight.detach()
        return weight if weight.is_floating_point() else weight.double()
    return weight.astype(np.float64) if weight.dtype.kind in "iub" else weight


def _draw(name: str, weight: Any, generator: Any) -> Any:
    torch = torch_or_none()
    if torch is not None and is_tensor(weight):
        if isinstance(generator, torch.Generator):
            drawn = torch.rand(
                weight.shape, dtype=torch.float64, device=generator.device, generator=generator
            )
            return drawn.to(weight.device)
    elif isinstance(generator, np.random.Generator):
        return generator.random(weight.shape)
    msg = (
        f"random: generator is {type(generator).__module__}.{type(generator).__name__}, "
        f"which does not fit {name}, a {type(weight).__module__}.{type(weight).__name__}"
    )
    raise TypeError(msg)
