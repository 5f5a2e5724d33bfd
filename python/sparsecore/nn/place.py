"""Where a model lies, and what that decides: its clock, and which layers have kernels there."""

from torch import nn

from sparsecore import cuda, interop, timing
from sparsecore.cuda.events import seconds_of_calls

__all__ = ["elapsed_of_place", "obstacle_of_place"]


def obstacle_of_place(layer: nn.Linear | nn.Conv2d) -> str | None:
    """Say why no sparse kernel runs where a layer's weight lies; None where one does."""
    weight = layer.weight
    if not interop.on_device(weight):
        if weight.device.type == "cpu":
            return None
        return f"its weight is on {weight.device}, and the kernels run on the CPU and on CUDA"
    if isinstance(layer, nn.Conv2d):
        return f"its weight is on {weight.device}, where convolutions have no sparse kernel"
    reason = cuda.reason()
    return f"its weight is on {weight.device}, and {reason}" if reason else None


def elapsed_of_place(model: nn.Module, *, caller: str) -> timing.Elapsed | None:
    """Return what measures calls where a model lies, or None for the host's clock.

    Raises
    ------
    ValueError
        Where it lies on several devices, none of whose clocks sees the others' work; names two.
    """
    devices = {str(p.device): p.device for p in model.parameters() if not p.is_meta}
    on_devices = [p for p in model.parameters() if interop.on_device(p)]
    if not on_devices:
        return None
    if len(devices) > 1:
        one, other, *_ = sorted(devices)
        msg = (
            f"{caller}: the model lies on {one} and {other}, expected one device to measure it on: "
            "give the choices (policy=...), or a timer that waits for all of them"
        )
        raise ValueError(msg)
    return seconds_of_calls(on_devices[0].device)
