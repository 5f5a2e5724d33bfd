"""``python -m sparsecore.bench gpu``: construction, row reads and products on a CUDA device."""
