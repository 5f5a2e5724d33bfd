"""Numbers as verdicts say them."""

from sparsecore.diagnosis.estimate import Times
from sparsecore.durations import duration

__all__ = ["comparison", "megabytes", "rows_text", "share"]


def share(fraction: float) -> str:
    """Format a fraction; what is not all or nothing is never shown as if it were.

    Examples
    --------
    >>> share(0.9), share(0.12345), share(0.99999), share(0.00001), share(1.0)
    ('90 %', '12.3 %', '>99.9 %', '<0.1 %', '100 %')
    """
    if 0.999 < fraction < 1:
        return ">99.9 %"
    if 0 < fraction < 0.001:
        return "<0.1 %"
    return f"{100 * fraction:.3g} %"


def megabytes(nbytes: int) -> str:
    """Format bytes with three digits and a decimal unit.

    Examples
    --------
    >>> megabytes(385), megabytes(16384), megabytes(4_200_000)
    ('385 B', '16.4 kB', '4.2 MB')
    """
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if float(f"{nbytes:.3g}") >= factor:
            return f"{float(f'{nbytes / factor:.3g}'):.10g} {unit}"
    return f"{nbytes} B"


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
