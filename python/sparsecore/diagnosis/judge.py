"""From everything that was found about a layer to the one verdict that explains it."""

from collections.abc import Sequence
from dataclasses import replace

from sparsecore.diagnosis.backends import Backend, is_24, is_24_by_chance, kernel_obstacle
from sparsecore.diagnosis.estimate import Times
from sparsecore.diagnosis.facts import LayerFacts
from sparsecore.diagnosis.findings import findings
from sparsecore.diagnosis.verdict import Verdict
from sparsecore.diagnosis.words import comparisons
from sparsecore.html_report.numbers import nbytes_text, percent

__all__ = ["could_gain", "judge"]

# Whatever the zeros, the layer cannot run sparse.
_HARD = ("no-kernel", "breaks-fusion", "not-exchangeable")
# Why no sparse form gains anything, the most particular reason first.
_SOFT = ("wrong-axis", "shape", "below-break-even")


def judge(
    facts: LayerFacts, backends: Sequence[Backend], times: Sequence[Times]
) -> tuple[Verdict, tuple[Verdict, ...]]:
    """Return the verdict on a layer, and what else was found.

    A mask in forward comes first: nothing else counts before it is gone. Then what rules out every
    sparse form; then, where one gains, that it is not used; then why none gains. Of a file, the
    wrong axis and zeros that would take fewer bytes are so whatever the times are, and come before
    all that times tell.
    """
    if facts.mask is None:
        plain = _without_findings(facts, times)
        if plain is not None:
            return plain, ()
    found = findings(facts, backends, times)
    by_code = {verdict.code: verdict for verdict in reversed(found)}
    # Of a model, what is stored says nothing of speed.
    known = ("wrong-axis", "zeros-stored-dense") if facts.in_file else ()
    gains = ("zeros-stored-dense",) if could_gain(times) else ()
    order = ("mask-in-forward", *_HARD, *known, *gains, *_SOFT)
    first = next((by_code[code] for code in order if code in by_code), None)
    if first is None:
        return _unknown(facts, times), (*found, *_open_axis(facts))
    rest = [verdict for verdict in found if verdict is not first]
    if first.code == "zeros-stored-dense" and not could_gain(times) and not by_code.keys() & _SOFT:
        rest.append(_unknown(facts, times))
    return first, (*(_after(first, found, verdict) for verdict in rest), *_open_axis(facts))


def _after(first: Verdict, found: Sequence[Verdict], further: Verdict) -> Verdict:
    """Return a further finding with no advice that cannot be followed."""
    if further.code not in _HARD and any(verdict.code in _HARD for verdict in found):
        return replace(further, advice="")
    if first.code == "mask-in-forward" and further.advice:
        return replace(further, advice=f"after that, {further.advice}")
    return further


def could_gain(times: Sequence[Times]) -> bool:
    """Whether a sparse form is faster than dense for any number of rows."""
    return any(time.pays for time in times)


def _without_findings(facts: LayerFacts, times: Sequence[Times]) -> Verdict | None:
    """Return the verdict on a layer that runs sparse, has no zeros, or is no product."""
    if not facts.counted:
        reason = kernel_obstacle(facts)
        sentence = reason or f"its entries cannot be read: {facts.stored}, {facts.dtype}"
        return Verdict("unknown" if reason is None else "no-kernel", sentence)
    if facts.is_sparse:
        return _sparse(facts, times)
    if facts.counts.nonzeros == facts.counts.size:
        return Verdict("no-zeros", "it has no zeros", "prune it first")
    if facts.use is not None and facts.use.kind == "lookup":
        sentence = f"its rows are looked up, not multiplied; {percent(facts.sparsity)} zeros"
        return Verdict("looked-up", sentence, "sparsity cannot make it faster")
    return None


def _sparse(facts: LayerFacts, times: Sequence[Times]) -> Verdict:
    sizes = f"{nbytes_text(facts.nbytes.stored)} instead of {nbytes_text(facts.nbytes.dense)}"
    if times and all(time.loses for time in times):
        return Verdict(
            "below-break-even",
            f"it runs sparse ({facts.stored}), but dense is faster: {comparisons(times)}",
            "take .to_dense(), or prune it further",
        )
    faster = f"; {comparisons(times)}" if times else ""
    if times and not could_gain(times):
        faster = f"; by the estimates that is not clearly faster: {comparisons(times)}"
    return Verdict("runs-sparse", f"it is sparse already ({facts.stored}), {sizes}{faster}")


def _unknown(facts: LayerFacts, times: Sequence[Times]) -> Verdict:
    zeros = f"{percent(facts.sparsity)} zeros"
    advice = "measure=True, with example_inputs, tells"
    if facts.in_file:
        advice = "measure=True" if len(facts.shape) <= 2 else "sc.doctor(model, example_inputs)"
        advice = f"{advice} tells"
    if times:
        sentence = (
            f"{zeros}; by the estimates no sparse form is clearly faster: {comparisons(times)}"
        )
        return Verdict("unknown", sentence, advice)
    advice = "" if facts.in_file else advice  # what has no estimates in a file is not measured
    return Verdict("unknown", f"{zeros}; whether a sparse kernel is faster is unknown", advice)


def _open_axis(facts: LayerFacts) -> tuple[Verdict, ...]:
    """Return what a file does not tell about 2:4."""
    if facts.lines_24 or is_24(facts) is not None or is_24_by_chance(facts):
        return ()
    along = [line for line in facts.share_24 if facts.is_24_along(line)]
    if len(along) == len(facts.share_24):
        return ()
    sentence = (
        f"its zeros are 2:4 along {' and '.join(along)}; whether that is summed over is unknown "
        "without the model"
    )
    return (Verdict("unknown", sentence),)
