"""What the demo measures: models against each other, and one layer at many densities."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import nn

from sparsecore.cli.demo_data import Array
from sparsecore.nn import CSRLinear, Sparse24Linear
from sparsecore.pruning import NM, Unstructured, prune_mask
from sparsecore.timing import Timer, Timing

__all__ = ["DENSITIES", "Curve", "breakeven", "density_curve", "latencies"]

DENSITIES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)


@dataclass(frozen=True, slots=True)
class Curve:
    """One layer's latency, dense, as 2:4, and as CSR at each density."""

    layer: str
    shape: tuple[int, int]
    batch: int
    densities: tuple[float, ...]
    csr: tuple[Timing, ...]
    dense: Timing
    two_of_four: Timing

    @property
    def breakeven(self) -> float | None:
        """The density below which CSR is faster than dense; see :func:`breakeven`."""
        return breakeven(self.densities, [time.median for time in self.csr], self.dense.median)


def breakeven(densities: Sequence[float], sparse: Sequence[float], dense: float) -> float | None:
    """Return the density below which every measured sparse time is under the dense one.

    Linear between the two measured densities around it.

    Parameters
    ----------
    densities : sequence of float
        Ascending.
    sparse : sequence of float
        Time at each density.
    dense : float
        Time of the dense layer, in the same unit.

    Returns
    -------
    float or None
        The last density where sparse is faster at all of them; None where it is not even at the
        first.

    Examples
    --------
    >>> breakeven([0.1, 0.2, 0.4], [10.0, 20.0, 40.0], dense=25.0)
    0.25
    >>> breakeven([0.1, 0.2], [10.0, 20.0], dense=5.0) is None
    True
    """
    if sparse[0] >= dense:
        return None
    for (d0, t0), (d1, t1) in pairwise(zip(densities, sparse, strict=True)):
        if t1 >= dense:
            return d0 + (dense - t0) / (t1 - t0) * (d1 - d0)
    return densities[-1]


def latencies(models: Mapping[str, nn.Module], x: Array, timer: Timer) -> Mapping[str, Timing]:
    """Measure models on the same rows, in turns."""
    inputs = torch.from_numpy(x)
    with torch.no_grad():
        return timer({name: partial(model, inputs) for name, model in models.items()})


def density_curve(name: str, layer: nn.Linear, batch: int, timer: Timer) -> Curve:
    """Measure a trained layer dense and, pruned by magnitude, at each of `DENSITIES`.

    All of them take turns in one measurement, on `batch` rows of normal numbers.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, layer.in_features, generator=generator)
    counts = {density: round(density * layer.weight.numel()) for density in DENSITIES}
    csr = {
        f"{density:.0%}": CSRLinear.from_dense(_pruned(layer, kept, Unstructured()))
        for density, kept in counts.items()
    }
    pattern = NM(2, 4)
    halved = _pruned(layer, pattern.fixed_count(tuple(layer.weight.shape)), pattern)
    models = {"dense": layer, **csr, "2:4": Sparse24Linear.from_dense(halved)}
    times = latencies(models, x.numpy(), timer)
    return Curve(
        layer=name,
        shape=(layer.out_features, layer.in_features),
        batch=batch,
        densities=DENSITIES,
        csr=tuple(times[key] for key in csr),
        dense=times["dense"],
        two_of_four=times["2:4"],
    )


@torch.no_grad()
def _pruned(layer: nn.Linear, kept: int, pattern: Unstructured | NM) -> nn.Linear:
    """Return a copy of a layer that keeps its largest weights."""
    mask = prune_mask(layer.weight.abs(), kept, pattern)
    pruned = copy.deepcopy(layer)
    pruned.weight.masked_fill_(~mask, 0)
    return pruned
