"""What there is of CUDA on this machine. Nothing here is asked at import."""

from dataclasses import dataclass

from sparsecore import _core
from sparsecore.cuda.metadata import metadata_positions

__all__ = ["Library", "is_available", "libraries", "metadata_positions", "reason"]


@dataclass(frozen=True, slots=True)
class Library:
    """One of NVIDIA's libraries, as this version of sparsecore sees it.

    Attributes
    ----------
    found : bool
    version : str or None
    reason : str
        Why it is not used.
    """

    found: bool
    version: str | None
    reason: str


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


def libraries() -> dict[str, Library]:
    """Return what was found of NVIDIA's libraries, by name, and why not.

    Examples
    --------
    >>> import sparsecore as sc
    >>> sc.cuda.libraries()["cusparselt"].found
    False
    """
    why = "not looked for: this version has no product that uses it"
    return {"cusparselt": Library(found=False, version=None, reason=why)}
