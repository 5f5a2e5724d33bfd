"""Pruning: scores, allocations, patterns and schedules, and a driver for torch models.

The first four are pure functions and values over numpy arrays and torch tensors. ``Pruner`` and
``prune`` are for torch models; so are ``SET``, ``RigL`` and ``TopKAST``, which train models whose
layers store nonzeros only, or have masks. torch is imported when one of them is first used.

Examples
--------
>>> import numpy as np
>>> from sparsecore import pruning
>>> scores = pruning.scores.magnitude({"a": np.array([0.1, -0.9]), "b": np.array([0.7, 0.8])})
>>> counts = pruning.allocation.global_(scores, 0.5)
>>> {name: pruning.prune_mask(scores[name], counts[name]) for name in scores}
{'a': array([False,  True]), 'b': array([False,  True])}
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sparsecore.pruning import allocation, scores
from sparsecore.pruning.patterns import NM, Pattern, Unstructured, prune_mask
from sparsecore.pruning.schedules import Cubic, OneShot, Schedule

if TYPE_CHECKING:
    from sparsecore.pruning.dynamic import SET, RigL
    from sparsecore.pruning.pruner import Pruner, prune
    from sparsecore.pruning.topkast import TopKAST

__all__ = [
    "NM",
    "SET",
    "Cubic",
    "OneShot",
    "Pattern",
    "Pruner",
    "RigL",
    "Schedule",
    "TopKAST",
    "Unstructured",
    "allocation",
    "prune",
    "prune_mask",
    "scores",
]

_TORCH_ONLY = {
    "Pruner": "pruner",
    "RigL": "dynamic",
    "SET": "dynamic",
    "TopKAST": "topkast",
    "prune": "pruner",
}


def __getattr__(name: str) -> Any:
    """Import the torch-only names when they are first asked for."""
    if name not in _TORCH_ONLY:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(f"sparsecore.pruning.{_TORCH_ONLY[name]}"), name)


def __dir__() -> list[str]:
    """List what the package offers, the torch-only names too."""
    return sorted(__all__)
