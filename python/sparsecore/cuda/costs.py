"""What a kernel's call takes, from three numbers that are measured once for each device.

Williams, Waterman & Patterson (2009), "Roofline: an insightful visual performance model": a call is
as long as the slower of its bytes and its operations, and has a fixed cost before.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Work:
    """What a call has to do.

    Attributes
    ----------
    nbytes : float
        Bytes that are read and written, each once.
    operations : float
        Multiplications and additions.
    """

    nbytes: float
    operations: float


@dataclass(frozen=True, slots=True)
class Cost:
    """What a kernel takes on one device.

    Attributes
    ----------
    overhead : float
        Seconds of a call that has nothing to do.
    bandwidth : float
        Bytes a second.
    rate : float
        Operations a second.

    Raises
    ------
    ValueError
        Where the overhead is negative, or another is not positive; NaN is neither.
    """

    overhead: float
    bandwidth: float
    rate: float

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not (self.overhead >= 0 and self.bandwidth > 0 and self.rate > 0):
            msg = f"expected an overhead from 0 up and positive rates, got {self}"
            raise ValueError(msg)

    def seconds(self, work: Work) -> float:
        """Return what a call takes.

        Examples
        --------
        >>> from sparsecore.cuda.costs import Cost, Work
        >>> kernel = Cost(overhead=4e-6, bandwidth=4e12, rate=8e14)
        >>> f"{kernel.seconds(Work(nbytes=32e6, operations=1e9)):.1e}"
        '1.2e-05'
        """
        return self.overhead + max(work.nbytes / self.bandwidth, work.operations / self.rate)


def fitted(samples: Iterable[tuple[Work, float]]) -> Cost:
    """Return the cost that no sample is faster than, and some are as fast as.

    Parameters
    ----------
    samples : iterable of (work, seconds)
        One with next to nothing to do, one that its bytes and one that its operations decide.

    Raises
    ------
    ValueError
        Where no sample takes longer than the shortest: nothing was measured.
    """
    found = list(samples)
    shortest = min(seconds for _, seconds in found)
    longer = [(work, seconds - shortest) for work, seconds in found if seconds > shortest]
    if not longer:
        msg = f"{len(found)} samples all take {shortest} s: nothing tells bytes from operations"
        raise ValueError(msg)
    return Cost(
        overhead=shortest,
        bandwidth=max(work.nbytes / seconds for work, seconds in longer),
        rate=max(work.operations / seconds for work, seconds in longer),
    )
