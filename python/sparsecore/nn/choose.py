"""The choice for one layer: dense, CSR or 2:4, and the sentence that says why."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparsecore.durations import duration
from sparsecore.nn.accuracy import LayerError, tolerance
from sparsecore.nn.candidates import build, error_of, measure
from sparsecore.nn.layers import Call, Dense, Site, Use
from sparsecore.nn.report import Format
from sparsecore.nn.sparse24_conv import has_24_kernel
from sparsecore.nn.stored_values import StoredValues, storing_obstacle
from sparsecore.timing import Timer

__all__ = ["Decision", "Layer", "decide", "survey"]

# Convolutions of few weights, such as a network's first, are often faster in our kernels than in
# torch's even without zeros, and can then be chained with those that follow.
_FULL_ENTRIES = 1 << 16


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer, how the example called it, and whether there is anything to choose."""

    site: Site
    calls: Mapping[Call, int]
    # NaN where the weight is computed or absent.
    sparsity: float
    is_24: bool
    # Why it cannot be exchanged, and why it need not be; None where the choice is open.
    obstacle: str | None
    idle: str | None
    # Whether that is only that it has no zeros, and yet a sparse kernel may be the faster one.
    may_win_full: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What was chosen for a layer, and what that was based on."""

    layer: Layer
    choice: Format
    why: str
    # What stands in the model: the sparse module, or the layer itself.
    module: nn.Module
    nbytes: Mapping[Format, int]
    error: float | None = None
    seconds: Mapping[Format, float] = field(default_factory=dict)
    # The error that the rounding of stored values explains, relative to the largest output.
    stored: float = 0.0

    @property
    def name(self) -> str:
        """The layer's name in the model."""
        return self.layer.site.name

    @property
    def tolerance(self) -> float:
        """The error that rounding explains."""
        site = self.layer.site
        return tolerance(site.dense.weight.dtype, site.weight_shape[1])

    @property
    def saved(self) -> float:
        """Seconds saved in one run of the model; 0 where nothing was measured."""
        return self.seconds["dense"] - self.seconds[self.choice] if self.seconds else 0.0

    def back_to_dense(self, why: str) -> "Decision":
        """Return the decision undone, its measurements kept."""
        module = self.layer.site.dense
        return replace(self, choice="dense", module=module, error=None, stored=0.0, why=why)


# ---- what is known of a layer ----


def survey(site: Site, use: Use | None) -> Layer:
    """Put together what is known of a layer; `use` is None where the example did not watch it."""
    weight = _plain_weight(site.dense)
    zeros = 0 if weight is None else int((weight == 0).sum())
    obstacle = site.obstacle
    if use is not None:
        called = None if use.calls else "the example did not call it"
        obstacle = next(iter(use.obstacles), called)
    return Layer(
        site=site,
        calls={} if use is None else use.calls,
        sparsity=math.nan if weight is None else zeros / max(weight.numel(), 1),
        is_24=weight is not None and is_24(weight.flatten(1)),
        obstacle=obstacle,
        idle=None if zeros else "it has no zeros: prune it first",
        may_win_full=not zeros
        and isinstance(site.dense, nn.Conv2d)
        and weight is not None
        and weight.numel() <= _FULL_ENTRIES,
    )


def _plain_weight(dense: Dense) -> Tensor | None:
    """Return the weight where it can be looked at without computing it."""
    weight: Any = dense._parameters.get("weight", vars(dense).get("weight"))
    if type(weight) not in {Tensor, nn.Parameter} or weight.is_meta:
        return None
    if weight.layout != torch.strided:
        return None
    detached: Tensor = weight.detach()
    return detached


def _weight_bytes(dense: Dense) -> int:
    """Bytes of all parameters but the bias: a parametrized weight may have several."""
    return sum(tensor.nbytes for name, tensor in dense.named_parameters() if name != "bias")


def is_24(weight: Tensor) -> bool:
    """Whether no group of four in a row of `weight`, (m, k), has more than two nonzeros.

    Examples
    --------
    >>> import torch
    >>> is_24(torch.tensor([[1.0, 2, 0, 0, 0, 3]])), is_24(torch.tensor([[1.0, 2, 0, 4]]))
    (True, False)
    """
    kept = F.pad(weight != 0, (0, -weight.shape[1] % 4))
    groups = kept.view(weight.shape[0], kept.shape[1] // 4, 4)
    return bool((groups.sum(dim=-1) <= 2).all())


# ---- what is chosen ----


def decide(
    layer: Layer,
    *,
    given: Format | None,
    max_error: float | None,
    timer: Timer | None,
    prepared: bool = False,
    values: StoredValues | None = None,
) -> Decision:
    """Choose a format for a layer.

    Parameters
    ----------
    layer : Layer
    given : Format or None
        The choice, where it was made in advance; only "dense" where the layer has an obstacle.
    max_error : float or None
        Largest error of a sparse module, see `layer_error`; None for the tolerance that rounding
        explains.
    timer : Timer or None
        Measures the formats; None takes the sparse one with the fewest bytes.
    prepared : bool
        Whether CSR layers are prepared for running, for the call with the most rows.
    values : {"bfloat16", "float16", "int8"}, optional
        What sparse layers store their values in, if not in the layer's dtype.

    Raises
    ------
    ValueError
        If 2:4 is given and the weight is not, or a sparse format and its values cannot be stored.
    """
    held = layer.site.dense
    dense = Decision(layer, "dense", "it was given", held, {"dense": _weight_bytes(held)})
    if given == "dense":
        return dense
    measures_full = layer.may_win_full and prepared and timer is not None
    idle = None if measures_full else layer.idle
    reason = layer.obstacle or idle or _storing_obstacle(held, values)
    if given is None and reason is not None:
        return replace(dense, why=reason)
    may_be_24 = layer.is_24 and has_24_kernel(held)
    open_forms: tuple[Format, ...] = ("csr", "2:4") if may_be_24 else ("csr",)
    forms = open_forms if given is None else (given,)
    site, calls = layer.site, layer.calls
    modules = {form: build(site, calls, form, prepared=prepared, values=values) for form in forms}
    sizes = {form: module.nbytes for form, module in modules.items()}
    dense = replace(dense, nbytes={**dense.nbytes, **sizes})
    errors = {form: error_of(site, module, calls, values) for form, module in modules.items()}
    limit = dense.tolerance if max_error is None else max_error
    off = {form: e.rest if max_error is None else e.error for form, e in errors.items()}
    exact = {form: module for form, module in modules.items() if off[form] <= limit}
    if not exact:
        listed = ", ".join(f"{form} is off by {off[form]:.2g}" for form in forms)
        beyond = f" beyond the rounding to {values}" if values and max_error is None else ""
        return replace(dense, why=f"{listed}{beyond}, where {limit:.2g} is allowed")
    return _best(dense, exact, errors, timer=None if given else timer, given=given)


def _storing_obstacle(dense: Dense, values: StoredValues | None) -> str | None:
    if values is None:
        return None
    reason = storing_obstacle(dense.weight.detach(), values)
    return None if reason is None else f"its weight cannot be stored as {values}: {reason}"


def _best(
    dense: Decision,
    modules: Mapping[Format, nn.Module],
    errors: Mapping[Format, LayerError],
    *,
    timer: Timer | None,
    given: Format | None,
) -> Decision:
    """Choose among modules that are exact enough, and dense."""
    seconds: dict[Format, float] = {}
    if timer is not None:
        seconds = measure({"dense": dense.module, **modules}, dense.layer.calls, timer)
        choice = min(seconds, key=lambda form: seconds[form])
        why = _fastest(choice, seconds)
    elif given is not None:
        choice, why = given, "it was given"
    else:
        choice = min(modules, key=lambda form: dense.nbytes[form])
        sizes = ", ".join(f"{form} {size:,}" for form, size in dense.nbytes.items())
        why = f"{choice} is the smallest sparse format; bytes: {sizes}"
    if choice == "dense":
        return replace(dense, why=why, seconds=seconds)
    return replace(
        dense,
        choice=choice,
        why=why,
        module=modules[choice],
        error=errors[choice].error,
        stored=errors[choice].stored,
        seconds=seconds,
    )


def _fastest(choice: Format, seconds: Mapping[Format, float]) -> str:
    times = [f"{form} {duration(time)}" for form, time in seconds.items() if form != choice]
    return f"{choice} is the fastest: {duration(seconds[choice])}, {', '.join(times)}"
