"""A network pruned in one way, and what `sparsify_` makes of it."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import sparsecore as sc
from sparsecore.bench.e2e.engines.torch_engines import call_of
from sparsecore.bench.e2e.engines.workload import Workload
from sparsecore.bench.e2e.macs import Macs, count_macs
from sparsecore.bench.e2e.patterns import HALF, prunable, prune_
from sparsecore.bench.models import Inputs
from sparsecore.bench.models.weights import calibrate_
from sparsecore.nn.report import Report
from sparsecore.nn.stored_values import StoredValues

__all__ = ["Variant", "make_variant", "planned", "relative_error"]


@dataclass(frozen=True, slots=True)
class Variant:
    """A pruned network that runs sparse.

    `sparsity` is the one asked for, in percent, and `zeros` what there is of them in the prunable
    weights. `error` is its output's against the dense network with the same zeros. `formats` counts
    the layers that were converted to each format, or left "dense". `values` are what sparse ones
    are stored in, None: float32.
    """

    pattern: str
    sparsity: float
    zeros: float
    call: Callable[[], Tensor]
    error: float
    macs: Macs
    bytes_dense: int
    bytes_sparse: int
    formats: Mapping[str, int]
    values: StoredValues | None = None

    @property
    def name(self) -> str:
        """What tells it from the others of its network."""
        stored = "" if self.values is None else f", {self.values}"
        return f"{self.pattern} {self.sparsity:g} %{stored}"


def planned(
    patterns: Sequence[str], sparsities: Sequence[float], values: Sequence[StoredValues] = ()
) -> list[tuple[str, float, StoredValues | None]]:
    """Return each pattern with each sparsity, in fp32; 2:4 has a sparsity of its own.

    After them "uniform" with each sparsity and each of the narrower `values`.
    """
    fp32: list[tuple[str, float, StoredValues | None]] = [
        (pattern, sparsity, None)
        for pattern in patterns
        for sparsity in ((HALF,) if pattern == "2:4" else sparsities)
    ]
    return fp32 + [("uniform", sparsity, stored) for stored in values for sparsity in sparsities]


def make_variant(
    workload: Workload,
    pattern: str,
    sparsity: float,
    *,
    values: StoredValues | None = None,
    ends: Collection[str],
    uses: Mapping[str, int],
    calibration: Inputs,
) -> Variant:
    """Prune a copy of the network, convert another copy of that, and compare them.

    Parameters
    ----------
    workload : Workload
        The network before pruning, and the inputs it is converted for.
    pattern, sparsity
        As `prune_` takes them.
    values
        As `sparsify_` takes them.
    ends : collection of str
        Layers that stay dense.
    uses : mapping of str to int
        What `positions` says of the network.
    calibration : tuple of Tensor
        Inputs for BatchNorm's statistics, which pruning changes.
    """
    dense = deepcopy(workload.model)
    prune_(dense, pattern, sparsity, ends)
    calibrate_(dense, calibration)
    layers = prunable(dense, ends)
    sparse = deepcopy(dense)
    report = sc.nn.sparsify_(
        sparse,
        workload.inputs,
        policy="measured",
        threads=workload.threads,
        trainable=False,
        values=values,
    )
    call = call_of(sparse, workload.inputs)
    stored = [layer.weight for layer in layers.values()]
    return Variant(
        pattern=pattern,
        sparsity=sparsity,
        zeros=1 - sum(map(_nonzeros, stored)) / sum(weight.numel() for weight in stored),
        call=call,
        error=relative_error(call(), call_of(dense, workload.inputs)()),
        macs=count_macs(uses, _weights(dense, uses), layers, _running_sparse(report)),
        bytes_dense=report.bytes_before,
        bytes_sparse=report.bytes_after,
        formats=Counter(layer.choice for layer in report.layers),
        values=values,
    )


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference over the largest magnitude; infinite where shapes differ."""
    if found.shape != expected.shape:
        return float("inf")
    return float((found.double() - expected.double()).abs().max() / expected.double().abs().max())


def _nonzeros(weight: Tensor) -> int:
    return int(torch.count_nonzero(weight))


def _weights(model: nn.Module, names: Collection[str]) -> dict[str, Tensor]:
    return {name: model.get_submodule(name).get_parameter("weight") for name in names}


def _running_sparse(report: Report) -> frozenset[str]:
    return frozenset(layer.name for layer in report.layers if layer.choice != "dense")
