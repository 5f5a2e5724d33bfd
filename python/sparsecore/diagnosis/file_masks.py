"""Weights that the graph of a file multiplies entry by entry, most often with a mask."""

from dataclasses import dataclass

import numpy as np

from sparsecore.diagnosis.facts import Mask
from sparsecore.interop import Array
from sparsecore.weight_files import Entry, WeightFiles

__all__ = ["Product", "product_of_entries"]


@dataclass(frozen=True, slots=True)
class Product:
    """A weight times its factor.

    Attributes
    ----------
    nonzero : bool array of the weight's shape
        Where neither is zero.
    mask : Mask or None
        What the factor is, where it consists of zeros and ones.
    is_mask : bool
        Whether the weight is itself the mask of the other.
    """

    nonzero: Array
    mask: Mask | None
    is_mask: bool


def product_of_entries(files: WeightFiles, entry: Entry) -> Product | None:
    """Return a weight as the graph multiplies it; None where it is seen to take it alone."""
    is_hidden = bool(entry.factor) and entry.use is None
    if not (is_hidden and entry.is_readable and files[entry.factor].is_readable):
        return None
    weight, factor = files.dense(entry.name), files.dense(entry.factor)
    has_mask = _is_mask(factor)
    mask = Mask(
        "by a Mul of the graph",
        "multiply the weight by its mask once, and take the mask out of the graph",
    )
    return Product(
        (weight != 0) & (factor != 0),
        mask if has_mask else None,
        is_mask=not has_mask and _is_mask(weight),
    )


def _is_mask(numbers: Array) -> bool:
    return bool(np.all((numbers == 0) | (numbers == 1)))
