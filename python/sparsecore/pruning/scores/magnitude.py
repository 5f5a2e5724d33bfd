"""Magnitude: the absolute value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsecore.interop import is_tensor
from sparsecore.pruning._checks import check_mapping

if TYPE_CHECKING:
    from sparsecore.pruning._arrays import Array

__all__ = ["magnitude"]


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
        Integers are scored in float64, because int8 has no abs(-128); complex numbers by the dtype
        of their parts.

    Raises
    ------
    TypeError
        `weights` is no mapping of arrays and tensors of numbers.

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
    check_mapping("magnitude", weights)
    return {name: _magnitude(name, weight) for name, weight in weights.items()}


def _magnitude(name: str, weight: Any) -> Any:
    if is_tensor(weight):
        weight = weight.detach()
        is_whole = not (weight.is_floating_point() or weight.is_complex() or weight.is_quantized)
        return abs(weight.double() if is_whole else weight)
    if not isinstance(weight, np.ndarray) or weight.dtype.kind not in "biufcV":
        found = f"{type(weight).__name__} {getattr(weight, 'dtype', '')}".rstrip()
        msg = f"magnitude: weights[{name!r}] is a {found}, expected an array or tensor of numbers"
        raise TypeError(msg)
    # asarray: numpy makes scalars of arrays without axes.
    return np.asarray(abs(weight.astype(np.float64) if weight.dtype.kind in "iub" else weight))
