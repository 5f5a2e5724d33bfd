"""The model as a whole: where its work is, and how much faster it can become."""

import math
from collections.abc import Sequence

from sparsecore.diagnosis.diagnosis import LayerDiagnosis, Summary
from sparsecore.diagnosis.judge import could_gain
from sparsecore.diagnosis.verdict import CODES, Verdict
from sparsecore.html_report.numbers import percent

__all__ = ["summarize"]

_NAMES = {"seconds": "time", "macs": "multiplications", "weights": "weights"}
# More of the work than this in dense convolutions, and less than that elsewhere to gain, and it is
# the convolutions that decide.
_MOST, _LITTLE = 0.5, 0.25
_STAY_DENSE = ("no-zeros", "below-break-even")


def summarize(layers: Sequence[LayerDiagnosis]) -> Summary:
    """Return the summary of all layers."""
    basis, amounts = _amounts(layers)
    total = math.fsum(amounts) or 1.0
    parts = [amount / total for amount in amounts]
    gaining = math.fsum(part for part, one in zip(parts, layers, strict=True) if _gains(one))
    shares = {
        code: math.fsum(p for p, one in zip(parts, layers, strict=True) if one.verdict.code == code)
        for code in CODES
        if any(one.verdict.code == code for one in layers)
    }
    macs = [None if one.facts.use is None else one.facts.use.macs for one in layers]
    known = [count for count in macs if count is not None]
    return Summary(
        verdict=_verdict(layers, parts, shares, gaining, basis),
        weights=sum(one.facts.counts.size for one in layers),
        zeros=sum(one.facts.counts.size - one.facts.counts.nonzeros for one in layers),
        nbytes=sum(one.facts.nbytes.stored for one in layers),
        least_nbytes=sum(map(_least, layers)),
        macs=sum(known) if layers and len(known) == len(layers) else None,
        basis=basis,
        shares=shares,
        could_gain=gaining,
        bound=1 / (1 - gaining) if basis != "weights" and gaining < 1 - 1e-9 else None,
        expected=_expected(layers) if basis == "seconds" else None,
    )


def _amounts(layers: Sequence[LayerDiagnosis]) -> tuple[str, list[float]]:
    """Return what is known of all layers that says most about time, and each one's."""
    works = [one for one in layers if one.facts.use is None or one.facts.use.kind != "lookup"]
    if works and all(len(one.times) == 1 for one in works):
        return "seconds", [one.times[0].seconds["dense"] if one.times else 0.0 for one in layers]
    macs = [None if one.facts.use is None else one.facts.use.macs for one in layers]
    if layers and all(count is not None for count in macs) and any(macs):
        return "macs", [float(count or 0) for count in macs]
    return "weights", [float(one.facts.counts.size) for one in layers]


def _gains(layer: LayerDiagnosis) -> bool:
    """Whether a sparse form makes a layer faster, once what is in the way is gone."""
    is_open = layer.verdict.code in ("zeros-stored-dense", "mask-in-forward", "wrong-axis")
    return is_open and could_gain(layer.times)


def _expected(layers: Sequence[LayerDiagnosis]) -> float:
    dense = math.fsum(one.times[0].seconds["dense"] for one in layers if one.times)
    saved = math.fsum(
        one.times[0].seconds["dense"] - one.times[0].seconds[one.times[0].best]
        for one in layers
        if _gains(one)
    )
    return dense / (dense - saved) if dense > saved else 1.0


def _least(layer: LayerDiagnosis) -> int:
    sizes, codes = layer.facts.nbytes, {one.name: one.eligible for one in layer.backends}
    forms = [sizes.stored, sizes.dense]
    forms += [sizes.csr] if codes.get("csr") and sizes.csr is not None else []
    forms += [sizes.sparse24] if codes.get("2:4") and sizes.sparse24 is not None else []
    return min(forms)


# ---- the sentence ----


def _verdict(
    layers: Sequence[LayerDiagnosis],
    parts: Sequence[float],
    shares: dict[str, float],
    gaining: float,
    basis: str,
) -> Verdict:
    """Return the verdict on the model: what most of its work is kept by."""
    if not layers:
        return Verdict("unknown", "there is no weight of a product")
    of = f"of the {_NAMES[basis]} of its layers"
    convolutions = math.fsum(
        part
        for part, one in zip(parts, layers, strict=True)
        if _is_convolution(one) and one.verdict.code in _STAY_DENSE
    )
    has_zeros = any(one.facts.counts.nonzeros < one.facts.counts.size for one in layers)
    dominate = convolutions > _MOST and gaining < _LITTLE
    if dominate and has_zeros and "mask-in-forward" not in shares:
        limit = f"; the rest cannot make them more than {1 / convolutions:.2f}x as fast"
        sentence = f"{percent(convolutions)} {of} is in convolutions that stay dense{limit}"
        return Verdict("convolutions-dominate", sentence, "prune the convolutions")
    codes = [code for code in CODES if code in shares]
    if codes[0] == "mask-in-forward":
        first = codes[0]
    else:
        first = max(codes, key=lambda code: (code != "no-zeros", shares[code]))
    example = max(
        (one for one in layers if one.verdict.code == first), key=lambda one: one.facts.counts.size
    )
    count = sum(one.verdict.code == first for one in layers)
    sentence = f"{count} of {len(layers)} weights, {percent(shares[first])} {of}: {_SAYS[first]}"
    return Verdict(first, sentence, example.verdict.advice)


_SAYS = {
    "mask-in-forward": "a mask is still applied in forward",
    "zeros-stored-dense": "zeros are stored dense and no sparse kernel is called",
    "below-break-even": "too few zeros for a sparse kernel",
    "wrong-axis": "2:4 along the wrong axis",
    "shape": "too small, or no multiple of what kernels need",
    "no-kernel": "no sparse kernel",
    "breaks-fusion": "read by an operator that does more than one product",
    "not-exchangeable": "the model needs the dense weight",
    "runs-sparse": "sparse already",
    "no-zeros": "no zeros, so nothing to gain until they are pruned",
    "looked-up": "looked up, not multiplied",
    "unknown": "unknown without the model",
}


def _is_convolution(layer: LayerDiagnosis) -> bool:
    use = layer.facts.use
    return use is not None and use.kind == "convolution"
