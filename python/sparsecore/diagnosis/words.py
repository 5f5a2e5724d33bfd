"""Numbers as verdicts say them."""

from collections.abc import Iterable

from sparsecore.diagnosis.estimate import Times
from sparsecore.durations import duration
from sparsecore.text_table import printable

__all__ = ["comparison", "comparisons", "printable", "rows_text"]


def comparison(times: Times) -> str:
    """Say what the faster sparse form takes and what dense does.

    Examples
    --------
    >>> comparison(Times(8, {"dense": 2e-3, "csr": 1e-3}, measured=False, breakeven=0.5))
    'csr should take 1 ms, dense 2 ms (estimated, 8 rows)'
    """
    sparse = [form for form in times.seconds if form != "dense"]
    form = min(sparse, key=lambda one: times.seconds[one])
    verb, how = ("takes", "measured") if times.measured else ("should take", "estimated")
    best, dense = duration(times.seconds[form]), duration(times.seconds["dense"])
    return f"{form} {verb} {best}, dense {dense} ({how}, {rows_text(times.rows)})"


def rows_text(*counts: int) -> str:
    """Format numbers of rows.

    Examples
    --------
    >>> rows_text(1), rows_text(1, 4096)
    ('1 row', '1 and 4,096 rows')
    """
    numbers = " and ".join(f"{count:,}" for count in counts)
    return f"{numbers} {'row' if counts == (1,) else 'rows'}"


def comparisons(times: Iterable[Times]) -> str:
    """Say what the faster sparse form takes and what dense does, for each number of rows.

    Examples
    --------
    >>> seconds = {"dense": 2e-3, "csr": 1e-3}
    >>> some = [Times(n, seconds, measured=True, breakeven=0.5) for n in (1, 8)]
    >>> comparisons(some)
    'csr takes 1 ms, dense 2 ms (measured, 1 row); csr takes 1 ms, dense 2 ms (measured, 8 rows)'
    """
    return "; ".join(map(comparison, times))
