"""A stack of blocks pruned one at a time; ``sparsecore.pruning.language_models`` is its face."""
