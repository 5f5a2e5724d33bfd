"""What a run of the demo found: values, and the sentences that can be said about them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sparsecore.cli.demo_measure import Curve
from sparsecore.durations import duration
from sparsecore.nn import LayerReport, Report
from sparsecore.timing import Timing

__all__ = [
    "Results",
    "Stored",
    "Variant",
    "against_breakeven",
    "all_dense",
    "disturbances",
    "disturbed",
    "disturbed_rows",
    "reasons_for_all_dense",
]

# The largest quotient of the 90th and the 10th percentile that passes without a word.
_SPREAD_OF_A_QUIET_MACHINE = 1.5
# Medians of one thing measured twice on a quiet machine differ by less.
_SLOWER = 1.05


@dataclass(frozen=True, slots=True)
class Stored:
    """A model as it was written to its file and read back; all of it follows from the seed.

    Attributes
    ----------
    accuracy : float
        Fraction of the test images.
    parameters : int
        Weights that are not pruned, and biases.
    disk_bytes, memory_bytes : int
        Of the file, and of the model in memory with what its kernels hold. Every pruned layer is
        sparse in it, whatever is faster.
    """

    accuracy: float
    parameters: int
    disk_bytes: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Variant:
    """The network dense, or pruned one way.

    Attributes
    ----------
    key, title : str
        Its name in files, and in tables.
    densities : mapping of str to float
        Fraction of the weights that each layer keeps.
    stored : Stored
    latency : mapping of int to Timing
        By batch size, of the model converted for that batch.
    reports : mapping of int to Report
        What was chosen for each batch size; empty for the dense network.
    """

    key: str
    title: str
    densities: Mapping[str, float]
    stored: Stored
    latency: Mapping[int, Timing]
    reports: Mapping[int, Report]


@dataclass(frozen=True, slots=True)
class Results:
    """All that the tables and the plot show; `variants` begins with the dense network."""

    data: str
    widths: tuple[int, ...]
    test_images: int
    seed: int
    threads: int
    target: str
    variants: tuple[Variant, ...]
    curve: Curve

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return {**asdict(self), "breakeven_density": self.curve.breakeven}


def against_breakeven(curve: Curve, variant: Variant) -> str:
    """Say where the curve breaks even, and whether the choice for that layer agrees with it."""
    report = variant.reports[curve.batch]
    layer = _layer(report, curve.layer)
    density, limit = variant.densities[curve.layer], curve.breakeven
    if limit is None:
        sparse, dense = duration(curve.csr[0].median), duration(curve.dense.median)
        found = f"at {curve.densities[0]:.0%} density CSR takes {sparse} already, dense {dense}"
    elif limit == curve.densities[-1]:
        found = f"CSR is faster than dense at every density measured, up to {limit:.0%}"
    else:
        found = f"CSR is faster than dense below {limit:.1%} density"
    expected = "csr" if limit is not None and density < limit else "dense"
    if report.seconds_before is None:
        outcome = f"{'and' if layer.choice == expected else 'but'} {layer.choice} was given"
    elif layer.choice == expected:
        outcome = f"and {expected} was chosen"
    else:
        outcome = f"but {layer.choice} was chosen: {layer.why}"
    shape = " x ".join(map(str, curve.shape))
    times = (curve.dense, *curve.csr)
    far_apart = sum(map(disturbed, times))
    doubt = (
        f" (not to be relied on: other work disturbed {far_apart} of these {len(times)} times)"
        if far_apart
        else ""
    )
    return (
        f"Break-even of {curve.layer} ({shape}, batch {curve.batch}): {found}{doubt}. The "
        f"{variant.title} model keeps {density:.1%} there, so {expected} was to be expected, "
        f"{outcome}."
    )


def reasons_for_all_dense(variant: Variant) -> Iterator[str]:
    """Yield a sentence for each batch for which the whole model stayed dense: why, in numbers."""
    for batch, report in variant.reports.items():
        if not all_dense(report):
            continue
        stays = f"The {variant.title} model stays all dense at batch {batch}"
        if report.seconds_before is None:
            yield f"{stays}, as the choices that were given say."
            continue
        largest = max(report.layers, key=lambda layer: layer.nbytes["dense"])
        yield (
            f"{stays}. Its largest layer, {largest.name}, keeps "
            f"{variant.densities[largest.name]:.1%}: {largest.why}."
        )


def disturbances(variants: Sequence[Variant]) -> Iterator[str]:
    """Yield advice where samples lie far apart, and each converted model that came out slower.

    Parameters
    ----------
    variants : sequence of Variant
        The dense network first.
    """
    times = [(v, batch, time) for v in variants for batch, time in v.latency.items()]
    if any(disturbed(time) for _, _, time in times):
        yield (
            "Other work disturbed the times marked *, and the choices follow from such times: run "
            "it again on a quiet machine, or with --threads 1, which other work disturbs least."
        )
    for variant, batch, time in times:
        dense, report = variants[0].latency[batch], variant.reports.get(batch)
        slower = time.median > _SLOWER * dense.median
        if report is not None and slower and not all_dense(report):
            measured = report.seconds_before is not None
            yield (
                f"The {variant.title} model at batch {batch} came out slower than dense, "
                f"{duration(time.median)} against {duration(dense.median)}, with formats that were "
                + ("faster when they were chosen: run it again." if measured else "given.")
            )


def disturbed(time: Timing) -> bool:
    """Whether samples lie so far apart that other work must have disturbed them."""
    return time.p90 > _SPREAD_OF_A_QUIET_MACHINE * time.p10


def disturbed_rows(variants: Sequence[Variant]) -> Iterator[str]:
    """Yield, for each latency whose samples lie far apart, where they lie."""
    for variant in variants:
        for batch, time in variant.latency.items():
            if disturbed(time):
                yield (
                    f"* {variant.title}, batch {batch}: samples from {duration(time.p10)} to "
                    f"{duration(time.p90)} (10th to 90th percentile); the speed-up is in doubt."
                )


def all_dense(report: Report) -> bool:
    """Whether no layer was exchanged."""
    return all(layer.choice == "dense" for layer in report.layers)


def _layer(report: Report, name: str) -> LayerReport:
    return next(layer for layer in report.layers if layer.name == name)
