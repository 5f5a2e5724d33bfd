"""Structured pruning: whole filters and channels, removed with all that depends on them.

For torch models, with the library torch-pruning (extra ``structured``).
"""

from sparsecore.pruning.structured.channel_reconstruction import (
    least_squares_factors,
    reconstruction_error,
    thinet_channels,
)
from sparsecore.pruning.structured.filter_report import FilterReport
from sparsecore.pruning.structured.filters import prune_filters_
from sparsecore.pruning.structured.head_attention import HeadAttention
from sparsecore.pruning.structured.heads import HeadReport, prune_heads_
from sparsecore.pruning.structured.thinet import thinet_

__all__ = [
    "FilterReport",
    "HeadAttention",
    "HeadReport",
    "least_squares_factors",
    "prune_filters_",
    "prune_heads_",
    "reconstruction_error",
    "thinet_",
    "thinet_channels",
]
