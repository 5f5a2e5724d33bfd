"""A machine of round constants for `doctor`, and arrays with zeros in known places."""

from __future__ import annotations

from typing import Any

import numpy as np

from oracle import Array
from sparsecore.diagnosis import Costs, Line, Problem


def costs(problem: Problem) -> Costs:
    """Return constants: of CSR an entry costs two dense ones, of 2:4 1.2; a call costs 10 us more.

    So CSR pays below half of the entries, and never where dense takes less than 10 us besides its
    call.
    """
    assert problem.rows >= 1
    return Costs(
        dense=Line(call=10e-6, mac=1e-9),
        csr=Line(call=20e-6, mac=2e-9),
        sparse24=Line(call=20e-6, mac=1.2e-9),
        byte=0.0,
    )


def pruned(*shape: int, sparsity: float = 0.9, dtype: Any = np.float32, seed: int = 0) -> Array:
    """Return normal numbers, of which exactly so many are zero, anywhere."""
    rng = np.random.default_rng(seed)
    weight = 1 + np.abs(rng.standard_normal(shape))
    places = rng.permutation(weight.size)[: round(sparsity * weight.size)]
    weight.reshape(-1)[places] = 0
    return weight.astype(dtype)


def two_of_four(*shape: int, axis: int = -1, dtype: Any = np.float32) -> Array:
    """Return ones where the first two of four stand along an axis; along others they are full."""
    place = np.arange(shape[axis]) % 4 < 2
    along = [1] * len(shape)
    along[axis] = shape[axis]
    return np.ascontiguousarray(np.broadcast_to(place.reshape(along), shape).astype(dtype))
