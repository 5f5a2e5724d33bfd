"""Everything that keeps a layer from being faster, in the order of `verdict.CODES`."""

from collections.abc import Iterator, Sequence

from sparsecore.diagnosis.backends import Backend, is_24, is_24_by_chance, kernel_obstacle
from sparsecore.diagnosis.estimate import Times
from sparsecore.diagnosis.facts import LayerFacts
from sparsecore.diagnosis.verdict import Verdict
from sparsecore.diagnosis.words import comparison, comparisons
from sparsecore.html_report.numbers import nbytes_text, percent
from sparsecore.interop import VALUE_DTYPES
from sparsecore.text_table import shape_text

__all__ = ["findings"]


def findings(
    facts: LayerFacts, backends: Sequence[Backend], times: Sequence[Times]
) -> tuple[Verdict, ...]:
    """Return what was found about a layer with zeros that is stored dense, in the order tested."""
    tests = (
        _mask(facts),
        _stored_dense(facts, backends, times),
        _break_even(facts, times),
        _wrong_axis(facts),
        _shape(facts, backends, times),
        _kernel(facts),
        _fusion(facts),
        _exchange(facts),
    )
    return tuple(found for test in tests for found in test)


def _mask(facts: LayerFacts) -> Iterator[Verdict]:
    if facts.mask is None:
        return
    how = facts.mask.how
    yield Verdict(
        "mask-in-forward",
        f"its mask is still applied in forward, {how}; {percent(facts.sparsity)} zeros are "
        "multiplied as numbers",
        f"{facts.mask.remedy}, then sc.nn.sparsify_(model, example_inputs)",
    )


def _stored_dense(
    facts: LayerFacts, backends: Sequence[Backend], times: Sequence[Times]
) -> Iterator[Verdict]:
    if facts.stored != "dense":
        return
    sizes = _smaller(facts, backends)
    quicker = [time for time in times if time.pays]
    if quicker:
        best = comparison(max(quicker, key=lambda time: time.gain))
        sentence = f"{percent(facts.sparsity)} zeros are stored dense{sizes}: {best}"
        yield Verdict("zeros-stored-dense", f"{sentence}{_otherwise(times)}", _conversion(facts))
    elif sizes and (facts.converts or not facts.in_file):
        sentence = f"{percent(facts.sparsity)} zeros are stored dense{sizes}"
        yield Verdict("zeros-stored-dense", sentence, _convert(facts) if facts.in_file else "")


def _otherwise(times: Sequence[Times]) -> str:
    """Say what it takes with numbers of rows where no sparse form is faster; nothing if none."""
    others = [time for time in times if not time.pays]
    return f"; but {comparisons(others)}" if others else ""


def _conversion(facts: LayerFacts) -> str:
    if facts.in_file and not facts.converts:
        return "sc.nn.sparsify_(model, example_inputs) runs it sparse"
    if facts.in_file:
        return f"{_convert(facts)}, sc.nn.sparsify_(model, example_inputs) runs it so"
    if facts.exchangeable:
        return "sc.nn.sparsify_(model, example_inputs) makes it sparse"
    return "write it as nn.Linear or nn.Conv2d, or call sc.linear(x, A) with A in CSR"


def _convert(facts: LayerFacts) -> str:
    how = "" if facts.called_weight else " once it is called NAME.weight"
    return f"sparsecore convert IN OUT stores it sparse{how}"


def _smaller(facts: LayerFacts, backends: Sequence[Backend]) -> str:
    """Say which sparse form takes fewer bytes, of those with a kernel; nothing where none does."""
    sizes = facts.nbytes
    eligible = {one.name for one in backends if one.eligible}
    if facts.converts and len(facts.shape) == 2 and facts.is_24_along("axis 1"):
        eligible.add("2:4")  # which a file has along the last axis, whatever is summed over
    forms = {"csr": sizes.csr, "2:4": sizes.sparse24}
    known = {form: size for form, size in forms.items() if size is not None and form in eligible}
    if not known:
        return ""
    best = min(known, key=lambda form: known[form])
    if known[best] >= sizes.dense:
        return ""
    return f"; {best} takes {nbytes_text(known[best])} instead of {nbytes_text(sizes.dense)}"


def _break_even(facts: LayerFacts, times: Sequence[Times]) -> Iterator[Verdict]:
    slower = [time for time in times if time.loses]
    if not times or len(slower) < len(times):
        return
    if _is_too_small(facts, times):
        return
    worst = max(slower, key=lambda time: time.breakeven or 0.0)
    # Of a measured layer, the estimate may be wrong.
    most = worst.breakeven if (worst.breakeven or 1.0) < facts.density else None
    limit = f"; it should pay below {percent(most)}" if most else ""
    wanted = f"prune it to more than {percent(1 - most)} zeros, or " if most else ""
    what = "gains less than 5 %" if worst.gain > 1 else "loses"
    yield Verdict(
        "below-break-even",
        f"at a density of {percent(facts.density)} a sparse kernel {what}{limit}: "
        f"{comparisons(times)}",
        f"{wanted}run it dense",
    )


def _wrong_axis(facts: LayerFacts) -> Iterator[Verdict]:
    lines = facts.lines_24
    others = [line for line in facts.share_24 if line not in lines]
    fitting = [line for line in others if facts.is_24_along(line)]
    if not lines or not fitting or is_24(facts) is not False or is_24_by_chance(facts):
        return
    along = max(lines, key=lambda line: facts.share_24[line])
    yield Verdict(
        "wrong-axis",
        f"its zeros are 2:4 along {fitting[0]}, but {lines[0]} is summed over, where "
        f"{percent(facts.share_24[along])} of the groups of four are",
        f"prune along {lines[0]}: sc.prune_24 takes the last axis",
    )


def _shape(
    facts: LayerFacts, backends: Sequence[Backend], times: Sequence[Times]
) -> Iterator[Verdict]:
    if _is_too_small(facts, times):
        time = min(times, key=lambda one: one.seconds["dense"])
        yield Verdict(
            "shape",
            f"{shape_text(facts.shape)} is too small: no density would make a sparse kernel "
            f"faster; {comparison(time)}",
            "keep it dense",
        )
    elif is_24(facts):
        for backend in backends:
            if backend.eligible is False and "multiple" in backend.why:
                advice = "pad the sides to such multiples"
                yield Verdict("shape", f"it is 2:4, but for {backend.name} {backend.why}", advice)


def _is_too_small(facts: LayerFacts, times: Sequence[Times]) -> bool:
    """Whether no density would do; only of a layer whose rows are known."""
    is_known = facts.use is not None and bool(facts.use.rows)
    return is_known and bool(times) and all(time.is_too_small and time.loses for time in times)


def _kernel(facts: LayerFacts) -> Iterator[Verdict]:
    reason = kernel_obstacle(facts)
    if reason is not None:
        cast = "" if facts.dtype in VALUE_DTYPES else ", or cast it to a dtype that has one"
        sentence = f"{reason}; {percent(facts.sparsity)} zeros"
        yield Verdict("no-kernel", sentence, f"keep it dense{cast}")


def _fusion(facts: LayerFacts) -> Iterator[Verdict]:
    if facts.use is None or facts.use.kind != "fused":
        return
    yield Verdict(
        "breaks-fusion",
        f"{facts.use.operator} reads it together with other weights and has no sparse form; "
        f"{percent(facts.sparsity)} zeros",
        "keep it dense, or have the layers called one by one "
        "(torch.backends.mha.set_fastpath_enabled(False)) and measure whether that pays",
    )


def _exchange(facts: LayerFacts) -> Iterator[Verdict]:
    if facts.obstacle is not None and (facts.use is None or facts.use.kind != "fused"):
        yield Verdict("not-exchangeable", f"it cannot be exchanged: {facts.obstacle}")
