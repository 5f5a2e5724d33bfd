"""What there is of CUDA on this machine. Nothing here is asked at import."""

from dataclasses import dataclass

from sparsecore import _core


@dataclass(frozen=True, slots=True)
class Availability:
    """The answer to `is_available`: true or false, with the reason.

    Attributes
    ----------
    available : bool
    reason : str
        Why not, or the name of the device.
    """

    available: bool
    reason: str

    def __bool__(self) -> bool:
        """Return `available`."""
        return self.available


def is_available() -> Availability:
    """Whether CUDA products can run, with the reason.

    Examples
    --------
    >>> import sparsecore as sc
    >>> answer = sc.cuda.is_available()
    >>> bool(answer) == answer.available
    True
    """
    return Availability(*_core.cuda_status())


def libraries() -> dict[str, str]:
    """Return NVIDIA's libraries that were found, by name; none is used by this version."""
    return {}
