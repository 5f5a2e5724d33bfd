"""What there is of CUDA on this machine. Nothing here is asked at import."""

from typing import TYPE_CHECKING, Any

from sparsecore import _core
from sparsecore.cuda.libraries import Library, libraries
from sparsecore.cuda.metadata import metadata_positions

if TYPE_CHECKING:
    from sparsecore.cuda.calibrating import calibrate

__all__ = ["Library", "calibrate", "is_available", "libraries", "metadata_positions", "reason"]


def __getattr__(name: str) -> Any:
    # It measures matrices, whose module needs this one.
    if name == "calibrate":
        from sparsecore.cuda.calibrating import calibrate

        return calibrate
    msg = f"module 'sparsecore.cuda' has no attribute {name!r}"
    raise AttributeError(msg)


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
