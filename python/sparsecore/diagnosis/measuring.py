"""The times of layers on this machine, measured one against the other in all their forms."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeAlias

import torch
from torch import nn

from sparsecore import interop, timing
from sparsecore.diagnosis.backends import runs_24_here
from sparsecore.diagnosis.estimate import Format
from sparsecore.diagnosis.facts import LayerFacts
from sparsecore.interop import Array
from sparsecore.nn.candidates import build, measure
from sparsecore.nn.choose import survey
from sparsecore.nn.example import Example
from sparsecore.nn.layers import Call, Site, find_layers, observe
from sparsecore.nn.place import elapsed_of_place
from sparsecore.nn.sparse24_conv import has_24_kernel
from sparsecore.nn.sparsify import LAYER_TIMER

__all__ = ["Measured", "measure_model", "measure_weight"]

Measured: TypeAlias = tuple[int, dict[Format, float]]
"""Rows of all calls of one run, and the seconds by form."""


def measure_model(
    model: nn.Module,
    example: Example,
    timer: timing.Timer | None,
    tell: Callable[[int, int, str], object],
) -> dict[int, Measured]:
    """Measure every nn.Linear and nn.Conv2d that could be exchanged, on the inputs that it sees.

    Returns
    -------
    dict
        By the ``id`` of the weight. Of layers without zeros, the dense time only.

    Raises
    ------
    ValueError
        Where the model lies on several devices.
    """
    if timer is None:
        timer = partial(LAYER_TIMER, elapsed=elapsed_of_place(model, caller="doctor"))
    with torch.inference_mode(False), torch.no_grad():
        sites = find_layers(model)
        uses = observe(sites, partial(example.output, model))
        layers = [survey(site, uses.get(site.name)) for site in sites]
        able = [layer for layer in layers if layer.obstacle is None and layer.calls]
        found: dict[int, Measured] = {}
        for done, layer in enumerate(able):
            tell(done, len(able), layer.site.name)
            is_24 = layer.is_24 and has_24_kernel(layer.site.dense)
            seconds = _seconds(
                layer.site, layer.calls, timer, has_zeros=layer.idle is None, is_24=is_24
            )
            rows = sum(times * layer.site.rows(call) for call, times in layer.calls.items())
            found[id(layer.site.dense.weight)] = (rows, seconds)
        return found


def measure_weight(
    facts: LayerFacts, weight: Array, batches: Sequence[int], timer: timing.Timer | None
) -> list[Measured]:
    """Measure a weight of a file as a linear layer, for each number of rows.

    Parameters
    ----------
    facts : LayerFacts
        Of a weight that is no convolution.
    weight : array, of the shape of the facts
    batches : sequence of int
    timer : Timer, optional
    """
    m, k = facts.matrix_shape
    matrix = weight.reshape(len(weight), -1)
    tensor = interop.as_tensor(matrix if matrix.shape == (m, k) else matrix.T.copy())
    linear = nn.Linear(k, m, bias=False, device="meta")
    linear.weight = nn.Parameter(tensor, False)
    site = Site(facts.name, linear, (), None)
    results: list[Measured] = []
    for rows in batches:
        call = Call((rows, k), tensor.dtype, (rows, m))
        seconds = _seconds(
            site,
            {call: 1},
            timer or LAYER_TIMER,
            has_zeros=True,
            is_24=bool(runs_24_here(facts)),
        )
        results.append((rows, seconds))
    return results


def _seconds(
    site: Site, calls: Mapping[Call, int], timer: timing.Timer, *, has_zeros: bool, is_24: bool
) -> dict[Format, float]:
    modules: dict[Format, nn.Module] = {"dense": site.dense}
    if has_zeros:
        modules["csr"] = build(site, calls, "csr", prepared=True)
    if has_zeros and is_24:
        modules["2:4"] = build(site, calls, "2:4", prepared=True)
    with torch.no_grad():
        return measure(modules, calls, timer)
