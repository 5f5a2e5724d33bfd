"""Whether ``sparsify_`` returns a slower model: ``python -m sparsecore.bench never-slower``."""
