"""Lookahead: magnitude, with the layers before and after."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsecore.interop import is_tensor, torch_or_none
from sparsecore.pruning._arrays import as_float64
from sparsecore.pruning._checks import check_arrays, check_whole

if TYPE_CHECKING:
    import numpy.typing as npt

    from sparsecore.pruning._arrays import Array

    Floats = npt.NDArray[np.float64]

__all__ = ["lookahead"]


def lookahead(
    weights: Mapping[str, Array], *, factors: Mapping[str, Array] | None = None
) -> dict[str, Any]:
    """Score each weight by how much its removal changes the product of three layers.

    ``s[o, i] = w[o, i]^2 * norm(before[i])^2 * norm(after[:, o])^2``, ``before[i]`` being the
    weights of the layer before that make input i, and ``after[:, o]`` those of the layer after that
    take output o; 1 where there is no such layer. With BatchNorm, whose factors are f:
    ``norm(before[i])^2 * f_before[i]^2`` and ``norm(after[:, o])^2 * f[o]^2``. Entries of a kernel
    share the factors of their channels.

    Parameters
    ----------
    weights : mapping of str to array or tensor
        A chain of layers in the order in which they follow one another: (out, in) of linear ones,
        (out, in, ...) of convolutions without groups. Where a linear layer follows a convolution,
        each channel is a block of neighbouring inputs, as ``Flatten`` makes it. Branches are chains
        of their own: score each and join the results.
    factors : mapping of str to array or tensor, optional
        By name of the layer before it, what a BatchNorm multiplies each output by:
        ``weight / sqrt(running_var + eps)``, of shape (out,).

    Returns
    -------
    dict of str to array or tensor
        float64, at least 0, on the weights' device. Where all layers are to share one threshold,
        mind that the first and the last have one neighbour only.

    Raises
    ------
    TypeError
        `weights` or `factors` is no mapping of arrays of real numbers.
    ValueError
        Two layers do not fit together, or factors do not fit their layer.

    References
    ----------
    Park et al., "Lookahead: A Far-Sighted Alternative of Magnitude-based Pruning", ICLR 2020
    (arXiv:2002.04809), section 2; squared, as the authors' code has it, which ranks alike.

    Examples
    --------
    >>> import numpy as np
    >>> weights = {"a": np.array([[1.0], [2.0]]), "b": np.array([[3.0, 1.0]])}
    >>> lookahead(weights)  # 1^2 3^2 and 2^2 1^2; 3^2 1^2 and 1^2 2^2
    {'a': array([[9.],
           [4.]]), 'b': array([[9., 4.]])}
    """
    check_arrays("lookahead", weights)
    check_whole("lookahead", weights, "its sums run over the rows and columns of whole layers")
    squares = {name: _squares(name, weight) for name, weight in weights.items()}
    scales = _scales(squares, {} if factors is None else factors)
    scores = dict(squares)
    last = next(reversed(squares), None)
    if last is not None and last in scales:  # what follows it is its BatchNorm alone
        scores[last] = scores[last] * _along(scales[last], 0, scores[last].ndim)
    for before, after in pairwise(squares):
        into, out_of = squares[after], squares[before]
        repeats = _repeats(before, out_of.shape, after, into.shape)
        made = _sums(out_of, axis=0) * scales.get(before, 1.0)
        used = _sums(into, axis=1).reshape(-1, repeats).sum(1) * scales.get(before, 1.0)
        scores[after] = scores[after] * _along(made.repeat(repeats), 1, into.ndim)
        scores[before] = scores[before] * _along(used, 0, out_of.ndim)
    return {name: _like(score, weights[name]) for name, score in scores.items()}


def _squares(name: str, weight: Any) -> Floats:
    squares = np.square(as_float64(weight))
    if squares.ndim < 2:
        msg = f"lookahead: {name} has shape {squares.shape}, expected (out, in) or (out, in, ...)"
        raise ValueError(msg)
    return squares


def _scales(squares: Mapping[str, Floats], factors: Mapping[str, Any]) -> dict[str, Floats]:
    """Return the squared factors of BatchNorm by layer."""
    check_arrays("lookahead", factors, argument="factors")
    scales = {name: np.square(as_float64(factor)) for name, factor in factors.items()}
    for name, scale in scales.items():
        expected = squares[name].shape[:1] if name in squares else None
        if scale.shape != expected:
            wanted = f"one of the weights, {list(squares)}" if expected is None else expected
            msg = f"lookahead: factors of {name!r} have shape {scale.shape}, expected {wanted}"
            raise ValueError(msg)
    return scales


def _repeats(before: str, made: tuple[int, ...], after: str, used: tuple[int, ...]) -> int:
    """Return how many inputs of a layer each output of the one before becomes."""
    repeats, rest = divmod(used[1], made[0]) if made[0] else (0, used[1])
    is_flattened = len(used) == 2 and len(made) > 2
    if rest or repeats < 1 or (repeats > 1 and not is_flattened):
        msg = (
            f"lookahead: {after!r} of shape {used} takes {used[1]} inputs, {before!r} of shape "
            f"{made} makes {made[0]}; expected a chain of layers in order, without groups"
        )
        raise ValueError(msg)
    return repeats


def _sums(squares: Floats, *, axis: int) -> Floats:
    others = tuple(a for a in range(squares.ndim) if a != axis)
    sums: Floats = squares.sum(axis=others)
    return sums


def _along(values: Floats, axis: int, ndim: int) -> Floats:
    return values.reshape([-1 if a == axis else 1 for a in range(ndim)])


def _like(score: Floats, weight: Any) -> Any:
    torch = torch_or_none()
    if torch is not None and is_tensor(weight):
        return torch.from_numpy(np.ascontiguousarray(score)).to(weight.device)
    return score
