"""LAMP: magnitudes that layers of any scale can be compared by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsecore.interop import is_tensor, torch_or_none
from sparsecore.pruning._arrays import as_float64
from sparsecore.pruning._checks import check_arrays, check_whole

if TYPE_CHECKING:
    from sparsecore.pruning._arrays import Array

__all__ = ["lamp"]


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
        `weights` is no mapping of arrays of real numbers.
    ValueError
        A weight is NaN or infinite: the sum that it is part of has no value.

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
    check_arrays("lamp", weights)
    check_whole("lamp", weights, "its sums run over a layer in the order of magnitudes")
    return {name: _lamp(name, weight) for name, weight in weights.items()}


def _lamp(name: str, weight: Any) -> Any:
    # In numpy for tensors, too: torch has no deterministic cumsum on CUDA.
    magnitudes = abs(as_float64(weight)).reshape(-1)
    largest = magnitudes.max(initial=0.0)
    if not np.isfinite(largest):
        msg = f"lamp: weights[{name!r}] has NaN or infinity, expected finite numbers"
        raise ValueError(msg)
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
