"""What is compared: cases, their contenders, and the check of every result before it is timed."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

__all__ = [
    "ROUNDOFF",
    "Absent",
    "Case",
    "Comparison",
    "Contender",
    "Offers",
    "WrongResult",
    "product_excess",
    "verify",
    "worst_excess",
]

# Half the distance of neighbouring numbers at 1. Integers do not round.
ROUNDOFF = {
    "float64": 2.0**-53,
    "float32": 2.0**-24,
    "float16": 2.0**-11,
    "bfloat16": 2.0**-8,
    "int32": 0.0,
}


class WrongResult(ValueError):
    """A contender's result is off by more than rounding permits."""


class Absent(Exception):
    """A peer is not there, or cannot do what is compared; the message says why."""


@dataclass(frozen=True, slots=True)
class Contender:
    """Something to measure.

    `sums` is the dtype that its sums may be kept in. A "baseline" does not profit from zeros: it is
    a dense product, or a copy of the input. `packing` says what becomes of the time in
    which the matrix is brought into a form of the library's own: there is none, it was spent
    beforehand, or it is included, as in a first call. `held` says, after a call, how many bytes of
    the matrix are kept for it, by what they are.
    """

    call: Callable[[], Any]
    sums: str = "float32"
    role: Literal["ours", "peer", "baseline"] = "peer"
    packing: Literal["none", "beforehand", "included"] = "none"
    held: Callable[[], Mapping[str, int]] | None = None


Offers: TypeAlias = dict[str, Contender | Absent]
"""Contenders by name; or why there is none of that name."""


@dataclass(frozen=True, slots=True)
class Case:
    """One row of a comparison.

    `labels` say which one it is, `work` is how many operations or bytes one call is worth, and
    ``excess(contender, result)`` is how far a result is off, as a multiple of what its arithmetic
    permits. The first contender is the one that ratios are about. `absent` says why peers have
    none.
    """

    labels: Mapping[str, str | float]
    work: float
    contenders: Mapping[str, Contender]
    excess: Callable[[Contender, Any], float]
    absent: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A table: `work` of its cases is in 1e-9 `unit` seconds, computed by `formula`.

    `baseline` says in a word what the baselines are.
    """

    name: str
    title: str
    unit: str
    formula: str
    cases: Iterable[Case]
    baseline: str = "dense"


def verify(case: Case) -> dict[str, float]:
    """Return the excess of each contender.

    Raises
    ------
    WrongResult
        Where one is above 1; names the case and the contender.
    """
    excess = {}
    for name, contender in case.contenders.items():
        excess[name] = case.excess(contender, contender.call())
        if not excess[name] <= 1:
            labels = ", ".join(f"{key} {value}" for key, value in case.labels.items())
            msg = f"{labels}: {name} is off by {excess[name]:.3g} times what rounding permits"
            raise WrongResult(msg)
    return excess


def product_excess(W: Any, X: Any, *, turned: bool = False) -> Callable[[Contender, Any], float]:
    """Return the check of ``W @ X`` against float64; where `turned`, results are transposed.

    A sum of t products may be off by (t + 1) u times the sum of their magnitudes, where u is the
    roundoff of the dtype it is kept in (Higham, Accuracy and Stability of Numerical Algorithms,
    section 3.1); the float64 sum likewise; and storing the result rounds once more.
    """
    left, right = W.astype(np.float64), X.astype(np.float64)
    expected = left @ right
    magnitude = np.abs(left) @ np.abs(right)
    terms = np.count_nonzero(left, axis=1).reshape(-1, *[1] * (right.ndim - 1))

    def excess(contender: Contender, result: Any) -> float:
        found = result.T if turned else result
        if found.shape != expected.shape:
            return np.inf
        stored = ROUNDOFF[str(result.dtype).removeprefix("torch.")]
        roundoff = (terms + 1) * (ROUNDOFF[contender.sums] + ROUNDOFF["float64"]) + stored
        return worst_excess(_as_float64(found) - expected, roundoff * magnitude)

    return excess


def worst_excess(error: Any, bound: Any) -> float:
    """Return the largest ``|error| / bound``; no error is none, also where the bound is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.where(error == 0, 0, np.abs(error) / bound).max(initial=0))


def _as_float64(result: Any) -> Any:
    return result.double().numpy() if hasattr(result, "double") else result.astype(np.float64)
