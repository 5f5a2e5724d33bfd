"""Pruning scores: how much each weight is worth. Higher means keep.

A score is a function from ``{name: weight}`` to ``{name: array of the same shape}``. Scores are
compared as they are: a global allocation puts one threshold over all layers, with no hidden
normalisation. Each is in the file of its name.
"""

from __future__ import annotations

from sparsecore.pruning.scores.lamp import lamp
from sparsecore.pruning.scores.magnitude import magnitude
from sparsecore.pruning.scores.random import random

__all__ = ["lamp", "magnitude", "random"]
