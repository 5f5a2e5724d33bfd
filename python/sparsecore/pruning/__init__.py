"""Pruning: scores, allocations, patterns and schedules, and a driver for torch models.

The first four are pure functions and values over numpy arrays and torch tensors. For torch models
are ``Pruner`` and ``prune``; ``prune_blocks``, which takes language models block by block; ``SET``,
``RigL`` and ``TopKAST``, whose masks change while a model trains; and ``structured``, which removes
whole filters. torch is imported when one of them is first used.

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

from sparsecore.pruning import allocation, flops, scores
from sparsecore.pruning.audit_report import AuditReport, LayerAudit
from sparsecore.pruning.controls import ScratchEpochs, scratch_epochs, shuffle_layerwise
from sparsecore.pruning.pattern import Pattern
from sparsecore.pruning.patterns import NM, Block, Channel, Filter, Unstructured, prune_mask
from sparsecore.pruning.rewind import Rewind
from sparsecore.pruning.schedules import Cubic, Iterative, OneShot, Schedule

if TYPE_CHECKING:
    from sparsecore.pruning import structured
    from sparsecore.pruning.dynamic import SET, RigL
    from sparsecore.pruning.language_models import (
        ModelFiles,
        PrunedLayer,
        prune_blocks,
        token_batches,
    )
    from sparsecore.pruning.model_audit import audit
    from sparsecore.pruning.model_flops import forward_flops
    from sparsecore.pruning.prune_at_once import prune
    from sparsecore.pruning.pruner import Pruner
    from sparsecore.pruning.reinitialization import reinitialize
    from sparsecore.pruning.topkast import TopKAST

__all__ = [
    "NM",
    "SET",
    "AuditReport",
    "Block",
    "Channel",
    "Cubic",
    "Filter",
    "Iterative",
    "LayerAudit",
    "ModelFiles",
    "OneShot",
    "Pattern",
    "PrunedLayer",
    "Pruner",
    "Rewind",
    "RigL",
    "Schedule",
    "ScratchEpochs",
    "TopKAST",
    "Unstructured",
    "allocation",
    "audit",
    "flops",
    "forward_flops",
    "prune",
    "prune_blocks",
    "prune_mask",
    "reinitialize",
    "scores",
    "scratch_epochs",
    "shuffle_layerwise",
    "structured",
    "token_batches",
]

_TORCH_ONLY = {
    "ModelFiles": "language_models",
    "PrunedLayer": "language_models",
    "Pruner": "pruner",
    "RigL": "dynamic",
    "SET": "dynamic",
    "TopKAST": "topkast",
    "audit": "model_audit",
    "forward_flops": "model_flops",
    "prune": "prune_at_once",
    "prune_blocks": "language_models",
    "reinitialize": "reinitialization",
    "token_batches": "language_models",
}


def __getattr__(name: str) -> Any:
    """Import the torch-only names when they are first asked for."""
    if name == "structured":
        return importlib.import_module("sparsecore.pruning.structured")
    if name not in _TORCH_ONLY:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(f"sparsecore.pruning.{_TORCH_ONLY[name]}"), name)


def __dir__() -> list[str]:
    """List what the package offers, the torch-only names too."""
    return sorted(__all__)
