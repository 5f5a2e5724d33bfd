"""Zeros of ONNX weights that are integers with a zero point."""

import numpy as np

from sparsecore.interop import Array
from sparsecore.weight_files.entry import Entry
from sparsecore.weight_files.weights import WeightFiles

__all__ = ["is_zero_known", "nonzero_numbers"]


def is_zero_known(weights: WeightFiles, entry: Entry) -> bool:
    """Whether the file says which number of a weight stands for zero; see `nonzero_numbers`."""
    return _zero(weights, entry) is not None


def nonzero_numbers(weights: WeightFiles, entry: Entry) -> Array | None:
    """Return an array that is zero where a weight stands for zero; None where that is not known.

    Integers of a graph may have a zero point, which stands for 0.0. It is known where a tensor of
    the file gives it, one for the whole weight, the same in all uses.

    Returns
    -------
    array of the weight's shape
        The weight itself, or bool where it has a zero point.

    Raises
    ------
    ValueError
        As `WeightFiles.dense`.
    """
    zero = _zero(weights, entry)
    if zero is None:
        return None
    numbers = weights.dense(entry.name)
    return numbers != zero if zero else numbers


def _zero(weights: WeightFiles, entry: Entry) -> int | None:
    """Return a weight's number for zero; None where it is not known."""
    uses = [use for use in (entry.use, *entry.other_uses) if use is not None]
    names = {use.zero_point for use in uses} or {""}
    name = names.pop()
    if names:
        return None
    if not name:
        return 0
    if name not in weights or not weights[name].is_readable:
        return None
    points = np.unique(weights.dense(name))
    return int(points[0]) if points.size == 1 else None
