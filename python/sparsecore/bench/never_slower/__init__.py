"""Whether ``sparsify_`` ever returns a slower model: ``python -m sparsecore.bench never-slower``."""
