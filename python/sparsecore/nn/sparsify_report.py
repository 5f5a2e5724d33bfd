"""The report of a conversion, from what was decided and how the whole model turned out."""

from sparsecore.nn.choose import Decision
from sparsecore.nn.fusion import Fusion
from sparsecore.nn.report import LayerReport, Report
from sparsecore.nn.settle import Outcome
from sparsecore.nn.sparse_layer import SparseLayer
from sparsecore.nn.stored_values import StoredValues, dtype_name

__all__ = ["report"]


def report(
    outcome: Outcome,
    sizes: tuple[int, int],
    fusion: Fusion,
    already_sparse: tuple[str, ...],
    values: StoredValues | None,
) -> Report:
    """Return what the user is told; `sizes` are the model's bytes before, and as it is fused."""
    exchanged = sum(d.nbytes[d.choice] - d.nbytes["dense"] for d in outcome.decisions)
    times = outcome.times
    return Report(
        layers=tuple(map(_layer_report, outcome.decisions)),
        seconds_before=None if times is None else times.before,
        seconds_fused=None if times is None or not fusion.changes else times.fused,
        seconds_after=None if times is None else times.after,
        bytes_before=sizes[0],
        bytes_after=(sizes[1] if outcome.is_fused else sizes[0]) + exchanged,
        max_error=outcome.error,
        fused=str(fusion) if outcome.is_fused else "",
        channels_last=outcome.is_fused and fusion.channels_last,
        already_sparse=already_sparse,
        values=values,
    )


def _layer_report(decision: Decision) -> LayerReport:
    layer, module = decision.layer, decision.module
    dtype = module._values_dtype if isinstance(module, SparseLayer) else None
    return LayerReport(
        name=layer.site.name,
        shape=layer.site.weight_shape,
        sparsity=layer.sparsity,
        is_24=layer.is_24,
        rows=tuple(dict.fromkeys(map(layer.site.rows, layer.calls))),
        seconds=decision.seconds,
        nbytes=decision.nbytes,
        error=decision.error,
        choice=decision.choice,
        why=decision.why,
        values=None if dtype is None else dtype_name(dtype),
    )
