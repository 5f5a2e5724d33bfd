"""What a run of the demo found: values, and the sentences that can be said about them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sparsecore.cli.demo_measure import Curve
from sparsecore.nn import LayerReport, Report
from sparsecore.nn.report import duration
from sparsecore.timing import Timing

__all__ = [
    "Results",
    "Stored",
    "Variant",
    "against_breakeven",
    "disturbances",
    "reasons_for_all_dense",
]

# The largest quotient of the 90th and the 10th percentile that passes without a word.
_SPREAD_OF_A_QUIET_MACHINE = 1.5


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
    layer = _layer(variant.reports[curve.batch], curve.layer)
    density, limit = variant.densities[curve.layer], curve.breakeven
    if limit is None:
        sparse, dense = duration(curve.csr[0].median), duration(curve.dense.median)
        found = f"at {curve.densities[0]:.0%} density CSR takes {sparse} already, dense {dense}"
    elif limit == curve.densities[-1]:
        found = f"CSR is faster than dense at every density measured, up to {limit:.0%}"
    else:
        found = f"CSR is faster than dense below {limit:.1%} density"
    expected = "csr" if limit is not None and density < limit else "dense"
    outcome = (
        f"and {expected} was chosen"
        if layer.choice == expected
        else f"but {layer.choice} was chosen: {layer.why}"
    )
    shape = " x ".join(map(str, curve.shape))
    return (
        f"Break-even of {curve.layer} ({shape}, batch {curve.batch}): {found}. The "
        f"{variant.title} model keeps {density:.1%} there, so {expected} was to be expected, "
        f"{outcome}."
    )


def reasons_for_all_dense(variant: Variant) -> Iterator[str]:
    """Yield a sentence for each batch for which the whole model stayed dense: why, in numbers."""
    for batch, report in variant.reports.items():
        if any(layer.choice != "dense" for layer in report.layers):
            continue
        largest = max(report.layers, key=lambda layer: layer.nbytes["dense"])
        yield (
            f"The {variant.title} model stays all dense at batch {batch}. Its largest layer, "
            f"{largest.name}, keeps {variant.densities[largest.name]:.1%}: {largest.why}."
        )


def disturbances(variants: Iterable[Variant]) -> Iterator[str]:
    """Yield a warning where the samples of a model's latency lie far apart."""
    worst = max(
        ((time.p90 / time.p10, v, b) for v in variants for b, time in v.latency.items()),
        key=lambda found: found[0],
    )
    spread, variant, batch = worst
    if spread > _SPREAD_OF_A_QUIET_MACHINE:
        time = variant.latency[batch]
        yield (
            f"Other work disturbed these times: the {variant.title} model at batch {batch} took "
            f"{duration(time.p10)} to {duration(time.p90)} (10th to 90th percentile). The choices "
            "follow from such times: run it again on a quiet machine."
        )


def _layer(report: Report, name: str) -> LayerReport:
    return next(layer for layer in report.layers if layer.name == name)
