"""The times of a layer: estimated from the machine's constants, or measured."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from sparsecore.diagnosis.backends import kernel_obstacle, runs_24_here
from sparsecore.diagnosis.estimate import ERROR, Format, Times, breakeven, estimated, is_too_small
from sparsecore.diagnosis.facts import LayerFacts
from sparsecore.diagnosis.machine import CostsOf, Problem
from sparsecore.interop import VALUE_DTYPES

__all__ = ["can_be_timed", "estimated_times", "unrest", "with_measured"]


def can_be_timed(facts: LayerFacts) -> bool:
    """Whether a layer has a sparse form on the CPU whose time could be told."""
    use = facts.use
    if kernel_obstacle(facts) is not None or facts.dtype not in VALUE_DTYPES:
        return False
    if facts.device != "cpu" or facts.counts.size == 0 or facts.dtype == "int8":
        return False
    if use is None:
        return len(facts.shape) in (2, 4)  # as those of nn.Linear and nn.Conv2d
    is_grouped = use.kind == "convolution" and use.groups > 1
    return use.kind in ("linear", "convolution") and not is_grouped


def estimated_times(facts: LayerFacts, batches: Sequence[int], costs: CostsOf) -> tuple[Times, ...]:
    """Return estimates of one run of a layer.

    Parameters
    ----------
    facts : LayerFacts
    batches : sequence of int
        Rows to assume, each alone, where the layer's own are not known.
    costs : callable
        The machine's constants; see `Machine`.

    Returns
    -------
    tuple of Times
        One of all calls where the rows are known, else one for each of `batches`; none where there
        is no sparse form, the weight is on a device, or a convolution has groups.
    """
    if not can_be_timed(facts):
        return ()
    rows = facts.use.rows if facts.use is not None else ()
    if rows:
        return (_of_calls(facts, rows, costs),)
    return tuple(_of_calls(facts, (count,), costs) for count in batches)


def _of_calls(facts: LayerFacts, rows: Sequence[int], costs: CostsOf) -> Times:
    is_24 = bool(runs_24_here(facts))
    seconds: dict[Format, float] = {}
    limits: list[float] = []
    error, too_small = ERROR, True
    for count, times in Counter(rows).items():
        constants = costs(_problem(facts, count))
        for form, one in estimated(facts, constants, count, is_24=is_24).items():
            seconds[form] = seconds.get(form, 0.0) + times * one
        limits.append(breakeven(facts, constants, count))
        error = max(error, constants.error)
        too_small = too_small and is_too_small(facts, constants, count)
    return Times(sum(rows), seconds, False, min(limits), error, too_small)


def _problem(facts: LayerFacts, rows: int) -> Problem:
    kernel = facts.use.kernel_size if facts.use is not None else ()
    return Problem(facts.dtype, rows, kernel)


def with_measured(estimates: Sequence[Times], rows: int, seconds: dict[Format, float]) -> Times:
    """Return what was measured, with the break-even density of the estimate for as many rows."""
    same = next((time for time in estimates if time.rows == rows), None)
    if same is None:
        return Times(rows, seconds, measured=True, breakeven=None)
    return replace(same, seconds=seconds, measured=True)


def unrest(times: Iterable[Times]) -> Iterator[str]:
    """Say that the machine was not quiet, where an estimate may be wrong by more for it."""
    error = max((time.error for time in times if not time.measured), default=ERROR)
    if error > ERROR:
        yield (
            "this machine was not quiet while it was probed: equal probes differed by "
            f"{error:.2f}x, and estimates that differ by less tell nothing"
        )
