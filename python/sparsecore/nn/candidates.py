"""The sparse modules that a layer could become: made, checked, measured."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, TypeVar

from torch import nn

from sparsecore import interop
from sparsecore.nn.accuracy import LayerError, layer_error, random_inputs
from sparsecore.nn.conv import CSRConv2d
from sparsecore.nn.csr_layer import CSRLayer
from sparsecore.nn.layers import Call, Dense, Site
from sparsecore.nn.modules import CSRLinear, Sparse24Linear
from sparsecore.nn.report import Format
from sparsecore.nn.sparse24_conv import Sparse24Conv2d
from sparsecore.nn.sparse_layer import SparseLayer
from sparsecore.nn.stored_values import StoredValues, rounded
from sparsecore.timing import Timer

__all__ = ["build", "error_of", "kernel_obstacle", "measure"]

Key = TypeVar("Key", bound=str)


def build(
    site: Site,
    calls: Mapping[Call, int],
    form: Format,
    *,
    prepared: bool,
    values: StoredValues | None = None,
) -> SparseLayer[Any]:
    """Return a sparse module, prepared for the call with the most rows if wished.

    Raises
    ------
    ValueError
        If the form is 2:4 and the layer cannot be, or `values` do not hold its weight.
    """
    try:
        module = _sparse(site.dense, form, values)
    except ValueError as error:
        msg = f"sparsify_: layer {site.name!r}: {error}"
        raise ValueError(msg) from error
    if prepared and isinstance(module, CSRLayer):
        return module.prepare_(max(map(site.rows, calls), default=None))
    module.matrix()  # so that its bytes count what the kernels hold
    return module


def _sparse(dense: Dense, form: Format, values: StoredValues | None) -> SparseLayer[Any]:
    if isinstance(dense, nn.Linear):
        return _linear(form).from_dense(dense, values=values)
    conv = CSRConv2d if form == "csr" else Sparse24Conv2d
    return conv.from_dense(dense, values=values)


def _linear(form: str) -> type[CSRLinear | Sparse24Linear]:
    return CSRLinear if form == "csr" else Sparse24Linear


def kernel_obstacle(dense: Dense, form: str) -> str | None:
    """Say why a linear layer's weight has no kernel in this form where it lies, or return None."""
    if not isinstance(dense, nn.Linear) or form == "dense" or _linear(form)._runs_on_device:
        return None
    weight = dense.weight
    if not interop.on_device(weight):
        return None
    return f"its weight is on {weight.device}, where {form} has no kernel"


def error_of(
    site: Site, module: nn.Module, calls: Iterable[Call], values: StoredValues | None
) -> LayerError:
    """Return the largest errors of a module over all calls, see `layer_error`."""
    stored = None if values is None else rounded(site.dense.weight.detach(), values)
    return LayerError.largest(layer_error(site.dense, module, call, stored) for call in calls)


def measure(
    modules: Mapping[Key, nn.Module], calls: Mapping[Call, int], timer: Timer
) -> dict[Key, float]:
    """Return the median seconds that each module takes for all calls of one run of the model."""
    seconds = dict.fromkeys(modules, 0.0)
    for call, times in calls.items():
        x, residual = random_inputs(call)
        measured = timer({key: partial(module, x, *residual) for key, module in modules.items()})
        for key in modules:
            seconds[key] += times * measured[key].median
    return seconds
