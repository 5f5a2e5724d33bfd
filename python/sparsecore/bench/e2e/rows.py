"""What comes out for each pruned network, ready for JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sparsecore.bench.e2e.variants import Variant
from sparsecore.timing import Timing

__all__ = ["Measured", "row"]


@dataclass(frozen=True, slots=True)
class Measured:
    """A dense engine's time and, relative to torch eager's output, its error."""

    timing: Timing
    error: float
    precision: str


def row(
    labels: Mapping[str, str | float],
    engines: Mapping[str, Measured],
    absent: Mapping[str, str],
    variant: Variant,
    timing: Timing,
) -> dict[str, Any]:
    """Return one row.

    Parameters
    ----------
    labels : mapping
        Model, batch, threads and whatever else says which row it is, pattern and sparsity apart.
    engines : mapping of str to Measured
        The dense ones; one of them has to be of precision "float32".
    absent : mapping of str to str
        Why other engines have no time.
    variant : Variant
    timing : Timing
        Of the variant.
    """
    best, best_int8 = _fastest(engines, "float32"), _fastest(engines, "int8")
    times = {name: found.timing.median for name, found in engines.items()}
    return {
        **labels,
        **_about(variant),
        "sparsecore": {**asdict(timing), "error": variant.error},
        "engines": {
            name: {**asdict(found.timing), "error": found.error, "precision": found.precision}
            for name, found in engines.items()
        },
        "absent": dict(absent),
        "best_dense": best,
        "speedup": best and times[best] / timing.median,
        "best_int8": best_int8,
        "speedup_over_int8": best_int8 and times[best_int8] / timing.median,
    }


def _about(variant: Variant) -> dict[str, Any]:
    return {
        "pattern": variant.pattern,
        "values": variant.values or "float32",
        "sparsity": variant.sparsity,
        "zeros": variant.zeros,
        "macs": variant.macs.total,
        "macs_kept": variant.macs.kept / variant.macs.total,
        "bound": variant.macs.bound,
        "sparse_share": variant.macs.sparse_share,
        "layers": dict(variant.formats),
        "weight_bytes": {"dense": variant.bytes_dense, "sparse": variant.bytes_sparse},
    }


def _fastest(engines: Mapping[str, Measured], precision: str) -> str | None:
    names = [name for name, found in engines.items() if found.precision == precision]
    return min(names, key=lambda name: engines[name].timing.median, default=None)
