"""What a layer should take dense and sparse: a roofline of constants that were measured here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from sparsecore.diagnosis.facts import LayerFacts

__all__ = ["ERROR", "Costs", "Format", "Line", "Times", "breakeven", "estimated", "is_too_small"]

Format: TypeAlias = Literal["dense", "csr", "2:4"]

# A packed plan of fp32 keeps two bytes of position an entry, whatever the stored indices take.
_POSITION_BYTES = 2
# What measurements differ by from run to run.
_NOISE = 1.05
ERROR = 1.2
"""By what factor estimates miss measurements where the machine is quiet."""
# The bisection ends below a hundredth of a percent of density.
_STEPS = 14


@dataclass(frozen=True, slots=True)
class Line:
    """What one form of a layer costs.

    Attributes
    ----------
    call : float
        Seconds of a call that computes next to nothing.
    mac : float
        Seconds of a multiplication with a stored entry.
    edge : float
        Seconds for each entry of the input and of the result.
    """

    call: float
    mac: float
    edge: float = 0.0


@dataclass(frozen=True, slots=True)
class Costs:
    """The constants of a machine for one dtype and one size of input.

    Attributes
    ----------
    dense, csr : Line
    sparse24 : Line or None
        None where there is no kernel.
    byte : float
        Seconds to read a byte of memory that is in no cache.
    cache : int
        Bytes of a weight that stay in a cache from one call to the next.
    error : float
        By what factor an estimate may be wrong: more than `ERROR` where the probes, repeated,
        differed by more.
    """

    dense: Line
    csr: Line
    sparse24: Line | None
    byte: float
    cache: int = 0
    error: float = ERROR


@dataclass(frozen=True, slots=True)
class Times:
    """What a layer takes in one run, by form.

    Attributes
    ----------
    rows : int
        How often the weight is applied: rows of the input, or pixels of the result, of all calls.
    seconds : mapping of {"dense", "csr", "2:4"} to float
        Without "2:4" where the weight is not 2:4 or has no such kernel.
    measured : bool
        Whether this very layer was measured; else it is an estimate.
    breakeven : float or None
        The density below which CSR should be faster than dense, an estimate; 0.0 where it never
        should be.
    error : float
        By what factor an estimate may be wrong.
    is_too_small : bool
        Whether CSR should be slower by more than that even if nothing but zeros were left.
    """

    rows: int
    seconds: Mapping[Format, float]
    measured: bool
    breakeven: float | None
    error: float = ERROR
    is_too_small: bool = False

    @property
    def best(self) -> Format:
        """The fastest form."""
        return min(self.seconds, key=lambda form: self.seconds[form])

    @property
    def gain(self) -> float:
        """How many times faster than dense the fastest sparse form is; 0.0 where there is none."""
        sparse = (seconds for form, seconds in self.seconds.items() if form != "dense")
        least = min(sparse, default=0.0)
        return self.seconds["dense"] / least if least else 0.0

    @property
    def pays(self) -> bool:
        """Whether a sparse form is faster, by more than a measurement or an estimate errs."""
        return self.gain >= self._margin

    @property
    def loses(self) -> bool:
        """Whether dense is the better choice; of an estimate, neither may be sure."""
        return not self.pays if self.measured else self.gain <= 1 / self._margin

    @property
    def _margin(self) -> float:
        return _NOISE if self.measured else self.error


def estimated(facts: LayerFacts, costs: Costs, rows: int, *, is_24: bool) -> dict[Format, float]:
    """Estimate what one call of a layer takes, dense and sparse.

    ``call + max(entries * rows * mac, (bytes - cache) / bandwidth) + edge * (inputs + results)``:
    reading what no cache holds of the weight and multiplying overlap, as in the roofline model
    (Williams, Waterman and Patterson, Communications of the ACM 52, 2009).

    Parameters
    ----------
    facts : LayerFacts
    costs : Costs
        Of its dtype, and of about so many rows.
    rows : int
    is_24 : bool
        Whether it could run as 2:4.
    """
    nonzeros = facts.counts.nonzeros
    seconds: dict[Format, float] = {
        "dense": _seconds(costs.dense, facts, facts.counts.size, facts.nbytes.dense, rows, costs),
        "csr": _csr(facts, costs, rows, nonzeros),
    }
    if is_24 and costs.sparse24 is not None:
        half, nbytes = -(-facts.counts.size // 2), facts.nbytes.sparse24 or 0
        seconds["2:4"] = _seconds(costs.sparse24, facts, half, nbytes, rows, costs)
    return seconds


def breakeven(facts: LayerFacts, costs: Costs, rows: int) -> float:
    """Return the density below which CSR is estimated to be faster; 0.0 where it never is."""
    size = facts.counts.size
    dense = _seconds(costs.dense, facts, size, facts.nbytes.dense, rows, costs)
    low, high = 0.0, 1.0
    if _csr(facts, costs, rows, size) < dense:
        return 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        is_faster = _csr(facts, costs, rows, round(middle * size)) < dense
        low, high = (middle, high) if is_faster else (low, middle)
    return low


def is_too_small(facts: LayerFacts, costs: Costs, rows: int) -> bool:
    """Return whether CSR is estimated to be slower at every density, beyond the error."""
    dense = _seconds(costs.dense, facts, facts.counts.size, facts.nbytes.dense, rows, costs)
    return _csr(facts, costs, rows, 0) >= costs.error * dense


def _csr(facts: LayerFacts, costs: Costs, rows: int, nonzeros: int) -> float:
    itemsize = facts.nbytes.dense // facts.counts.size if facts.counts.size else 0
    nbytes = nonzeros * (itemsize + _POSITION_BYTES)
    return _seconds(costs.csr, facts, nonzeros, nbytes, rows, costs)


def _seconds(
    line: Line, facts: LayerFacts, entries: int, nbytes: int, rows: int, costs: Costs
) -> float:
    work = max(entries * rows * line.mac, (nbytes - costs.cache) * costs.byte)
    return line.call + work + sum(facts.matrix_shape) * rows * line.edge
