"""Pruning scores: how much each weight is worth. Higher means keep.

A score is a function from ``{name: weight}`` to ``{name: array of the same shape}``. Scores are
compared as they are: a global allocation puts one threshold over all layers, with no hidden
normalisation (what SNIP divides by is the same for all). Each is in the file of its name.

``random``, ``magnitude``, ``lamp`` and ``lookahead`` are of arrays alone, numpy's or torch's.
``snip``, ``taylor``, ``obd``, ``grasp`` and ``synflow`` run a torch model on batches of data, as
``snip(weights, model=model, batches=batches)``, and import torch when they are called. ``wanda``
does either. ``sparsegpt``, of arrays, returns masks and the weights that go with them.
"""

from __future__ import annotations

from sparsecore.pruning.scores.class_balance import class_balanced_batches
from sparsecore.pruning.scores.grasp import grasp
from sparsecore.pruning.scores.lamp import lamp
from sparsecore.pruning.scores.lookahead import lookahead
from sparsecore.pruning.scores.magnitude import magnitude
from sparsecore.pruning.scores.obd import obd
from sparsecore.pruning.scores.random import random
from sparsecore.pruning.scores.snip import snip
from sparsecore.pruning.scores.sparsegpt import sparsegpt
from sparsecore.pruning.scores.synflow import synflow
from sparsecore.pruning.scores.taylor import taylor
from sparsecore.pruning.scores.wanda import wanda

__all__ = [
    "class_balanced_batches",
    "grasp",
    "lamp",
    "lookahead",
    "magnitude",
    "obd",
    "random",
    "snip",
    "sparsegpt",
    "synflow",
    "taylor",
    "wanda",
]
