"""ThiNet's arithmetic: which channels to keep so that a layer's output can be rebuilt from them.

Of m sampled outputs of a layer, without the bias, the contributions are an array (m, c): what each
of its c input channels adds to each output. A row sums to the output.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsecore.pruning._arrays import as_float64

if TYPE_CHECKING:
    import numpy.typing as npt

    from sparsecore.pruning._arrays import Array

__all__ = ["least_squares_factors", "reconstruction_error", "thinet_channels"]


def thinet_channels(
    contributions: Array, kept: int, *, classes: Sequence[int] | None = None
) -> list[int]:
    """Choose channels greedily, so that what the others add has a small sum of squares.

    The set T of removed channels starts empty. Again and again the channel joins it with which
    ``sum_i (sum_{j in T} x_ij)^2`` is the smallest, x being the contributions.

    Parameters
    ----------
    contributions : array or tensor, shape (m, c)
        Any real dtype; the sums are float64.
    kept : int
        How many channels to keep, 1 to c.
    classes : sequence of int, length c, optional
        Of each channel: then each class keeps as many. `kept` is a multiple of their number.

    Returns
    -------
    list of int
        The kept channels, ascending. Of equal ones the lowest are kept.

    Raises
    ------
    ValueError
        `contributions` is no matrix or has NaN or infinity; `kept` is out of range or no multiple.

    Notes
    -----
    The sum of squares of T and one channel j more is that of T, plus ``2 sum_{t in T} G_tj + G_jj``
    with ``G = x^T x``: O(m c^2) once, then O(c) for each candidate set.

    References
    ----------
    Luo et al., "ThiNet: A Filter Level Pruning Method for Deep Neural Network Compression",
    ICCV 2017, section 3.2 (the greedy algorithm).

    Examples
    --------
    >>> import numpy as np
    >>> thinet_channels(np.array([[3.0, 1.0, -1.0], [3.0, -2.0, 2.5]]), 1)
    [0]
    """
    x = _checked("thinet_channels", contributions)
    count = x.shape[1]
    labels = [0] * count if classes is None else list(classes)
    quota = _quota(count, kept, labels)
    gram = x.T @ x
    cost, removed = np.diag(gram).copy(), np.zeros(count, bool)
    spare = dict.fromkeys(labels, quota)
    for _ in range(count - kept):
        free = [j for j in range(count) if not removed[j] and spare[labels[j]]]
        best = min(free, key=lambda j: (cost[j], -j))
        removed[best] = True
        spare[labels[best]] -= 1
        # All candidates carry the sum of squares of T, so only what differs is added up.
        cost += 2 * gram[best]
    return [j for j in range(count) if not removed[j]]


def reconstruction_error(
    contributions: Array, kept: Sequence[int], factors: Array | None = None
) -> float:
    """Return the sum of squares by which the kept channels miss the output.

    Parameters
    ----------
    contributions : array or tensor, shape (m, c)
    kept : sequence of int
        Channels, each once.
    factors : array, shape (len(kept),), optional
        What the kept channels are multiplied by; 1 if not given.

    Raises
    ------
    ValueError
        `contributions` as in `thinet_channels`; `kept` has another number than that of a channel,
        or one twice; `factors` are not as many.

    Examples
    --------
    >>> import numpy as np
    >>> reconstruction_error(np.array([[3.0, 1.0, -2.0], [3.0, 0.0, 2.0]]), [0])
    5.0
    """
    x = _checked("reconstruction_error", contributions)
    columns = _columns("reconstruction_error", kept, x.shape[1])
    factor = np.ones(len(columns)) if factors is None else as_float64(factors)
    if factor.shape != (len(columns),):
        msg = (
            f"reconstruction_error: factors has shape {factor.shape}, kept {len(columns)} channels"
        )
        raise ValueError(msg)
    rest = x.sum(1) - x[:, columns] @ factor
    return float(rest @ rest)


def least_squares_factors(contributions: Array, kept: Sequence[int]) -> npt.NDArray[np.float64]:
    """Return what to multiply the kept channels by, so that they miss the output the least.

    Parameters
    ----------
    contributions : array or tensor, shape (m, c)
    kept : sequence of int
        Channels, each once.

    Returns
    -------
    float64 array (len(kept),)
        The least-squares solution; where there are several, the nearest to 1, so that channels
        which are zero in all samples stay as they are.

    Raises
    ------
    ValueError
        As `reconstruction_error`.

    References
    ----------
    Luo et al., ICCV 2017, section 3.2 ("minimize the reconstruction error").

    Examples
    --------
    >>> import numpy as np
    >>> least_squares_factors(np.array([[2.0, 1.0], [4.0, 2.0]]), [0])
    array([1.5])
    """
    x = _checked("least_squares_factors", contributions)
    own = x[:, _columns("least_squares_factors", kept, x.shape[1])]
    change: npt.NDArray[np.float64] = np.linalg.lstsq(own, x.sum(1) - own.sum(1), rcond=None)[0]
    return 1 + change


def _checked(caller: str, contributions: Any) -> npt.NDArray[np.float64]:
    x = as_float64(contributions)
    if x.ndim != 2:
        msg = f"{caller}: contributions has shape {x.shape}, expected (samples, channels)"
        raise ValueError(msg)
    bad = int((~np.isfinite(x)).sum())
    if bad:
        msg = f"{caller}: contributions has {bad} NaN or infinite ones among {x.size}"
        raise ValueError(msg)
    return x


def _columns(caller: str, kept: Sequence[int], count: int) -> list[int]:
    columns = list(kept)
    is_right = all(type(j) is not bool and isinstance(j, Integral) for j in columns)
    if not is_right or len(set(columns)) < len(columns) or not set(columns) <= set(range(count)):
        msg = f"{caller}: kept is {columns}, expected different channels from 0 to {count - 1}"
        raise ValueError(msg)
    return columns


def _quota(count: int, kept: int, labels: Sequence[int]) -> int:
    """Return how many channels each class loses."""
    if isinstance(kept, bool) or not isinstance(kept, Integral) or not 1 <= kept <= count:
        msg = f"thinet_channels: kept is {kept!r}, expected 1 to {count}, the channels to keep"
        raise ValueError(msg)
    sizes = {label: labels.count(label) for label in labels}
    if len(labels) != count or len(set(sizes.values())) != 1 or kept % len(sizes):
        msg = (
            f"thinet_channels: {len(labels)} classes for {count} channels, sizes "
            f"{sorted(sizes.values())}, kept {kept}: expected one each, alike, and a multiple"
        )
        raise ValueError(msg)
    return (count - kept) // len(sizes)
