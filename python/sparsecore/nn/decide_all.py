"""What becomes of each layer of a model, and in which memory order its images run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import nn

from sparsecore import timing
from sparsecore.nn.choose import Decision, Layer, decide, survey
from sparsecore.nn.example import Example, undisturbed
from sparsecore.nn.fusion import Fusion
from sparsecore.nn.layers import find_layers, observe
from sparsecore.nn.report import Format
from sparsecore.nn.settle import put
from sparsecore.nn.sparsify_arguments import Policy, check_given
from sparsecore.nn.stored_values import StoredValues

__all__ = ["Wish", "decide_in_the_better_order", "tell"]


@dataclass(frozen=True, slots=True)
class Wish:
    """What the decisions on layers go by."""

    policy: Policy
    given: Mapping[str, Format]
    max_error: float | None
    timer: timing.Timer | None
    prepared: bool
    values: StoredValues | None
    progress: Callable[[int, int, str], object] | None


def decide_in_the_better_order(
    model: nn.Module,
    example: Example,
    fusion: Fusion,
    wish: Wish,
    channels_last: bool | None,
    timer: timing.Timer | None,
) -> list[Decision]:
    """Decide on all layers, and on the memory order of images where that is open.

    By the whole model's time: what lies between the layers has an order that it likes, too.
    """
    is_open = channels_last is None and timer is not None and fusion.takes_images
    if timer is None or not is_open or not _takes_channels_last(model, example, fusion):
        fusion.order_images(channels_last=bool(channels_last))
        return _decide_all(model, example, wish)
    found: dict[bool, list[Decision]] = {}
    for order in (False, True):
        fusion.order_images(channels_last=order)
        found[order] = _decide_all(model, example, wish)
    copied = example.copy()

    def run(order: bool) -> Any:
        if fusion.channels_last is not order:  # only the first call of a sample exchanges anything
            fusion.order_images(channels_last=order)
            put(found[order])
        return copied.call(model)

    put(found[True])
    try:
        with undisturbed(model):
            times = timer({"as given": partial(run, False), "channels_last": partial(run, True)})
    finally:
        put(found[True], dense=True)
    better = times["channels_last"].median < times["as given"].median
    fusion.order_images(channels_last=better)
    return found[better]


def _takes_channels_last(model: nn.Module, example: Example, fusion: Fusion) -> bool:
    """Whether the model runs on images in that order: ``x.view(len(x), -1)`` of some does not."""
    fusion.order_images(channels_last=True)
    try:
        example.output(model)
    except Exception:  # whatever the model's own code raises
        return False
    return True


def _decide_all(model: nn.Module, example: Example, wish: Wish) -> list[Decision]:
    sites = find_layers(model)
    uses = observe(sites, partial(example.output, model))
    layers = [survey(site, uses.get(site.name)) for site in sites]
    if not isinstance(wish.policy, str):
        layers = list(map(_closed, layers))
    check_given(wish.given, layers)
    decisions: list[Decision] = []
    for layer in layers:
        decisions.append(
            decide(
                layer,
                given=wish.given.get(layer.site.name),
                max_error=wish.max_error,
                timer=wish.timer,
                prepared=wish.prepared,
                values=wish.values,
            )
        )
        tell(wish.progress, len(decisions), len(layers) + 1, layer.site.name)
    return decisions


def _closed(layer: Layer) -> Layer:
    """Leave a layer dense unless a choice names it."""
    idle = layer.idle or "the given choices do not name it"
    return replace(layer, idle=idle, may_win_full=False)


def tell(
    progress: Callable[[int, int, str], object] | None, done: int, total: int, name: str
) -> None:
    """Call what the user gave to follow the work, if anything."""
    if progress is not None:
        progress(done, total, name)
