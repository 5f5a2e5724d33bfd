"""What there is of CUDA on this machine. Nothing here is asked at import."""

from sparsecore import _core
from sparsecore.cuda.libraries import Library, libraries
from sparsecore.cuda.metadata import metadata_positions

__all__ = ["Library", "is_available", "libraries", "metadata_positions", "reason"]


def is_available() -> bool:
    """Whether CUDA products can run; `reason` says why not.

    Examples
    --------
    >>> import sparsecore as sc
    >>> sc.cuda.is_available() or sc.cuda.reason() != ""
    True
    """
    return _core.cuda_status()[0]


def reason() -> str:
    """Return why CUDA products cannot run; empty where they can."""
    available, text = _core.cuda_status()
    return "" if available else text
