"""Structured pruning: whole filters and channels, removed with all that depends on them.

For torch models, with the library torch-pruning (extra ``structured``).
"""

from sparsecore.pruning.structured.filter_report import FilterReport
from sparsecore.pruning.structured.filters import prune_filters_

__all__ = ["FilterReport", "prune_filters_"]
