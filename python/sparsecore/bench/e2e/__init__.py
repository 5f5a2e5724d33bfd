"""Whole networks, sparse against the dense engines: ``python -m sparsecore.bench e2e``."""
