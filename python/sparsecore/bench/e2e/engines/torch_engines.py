"""Dense networks in torch: as they are, prepared by hand, and compiled."""

import warnings
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from sparsecore.bench.comparison import Absent
from sparsecore.bench.e2e.engines.workload import Workload
from sparsecore.bench.models import Inputs

__all__ = ["call_of", "channels_last", "eager", "inductor"]


def call_of(model: Callable[..., Tensor], inputs: Inputs) -> Callable[[], Tensor]:
    """Return the call that runs a network without autograd."""

    def call() -> Tensor:
        with torch.inference_mode():
            return model(*inputs)

    return call


def eager(workload: Workload) -> Callable[[], Tensor]:
    """As every user starts."""
    return call_of(workload.model, workload.inputs)


def channels_last(workload: Workload) -> Callable[[], Tensor]:
    """BatchNorm folded into the convolutions before it, channels innermost."""
    if not any(isinstance(module, nn.Conv2d) for module in workload.model.modules()):
        msg = "no convolutions"
        raise Absent(msg)
    with warnings.catch_warnings():
        # Of what the module imports, for uses of its own.
        warnings.simplefilter("ignore", DeprecationWarning)
        from torch.fx.experimental.optimization import fuse

        model: nn.Module = fuse(workload.model)
    inputs = tuple(x.contiguous(memory_format=torch.channels_last) for x in workload.inputs)
    return call_of(model.to(memory_format=torch.channels_last), inputs)  # type: ignore[call-overload]


def inductor(workload: Workload) -> Callable[[], Tensor]:
    """``torch.compile`` with the weights frozen, which lets it pack them."""
    import torch._inductor.config as settings

    # Workers would stay, and share the cores with what is measured.
    with settings.patch(freezing=True, compile_threads=1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # By number of threads too, so another one compiles anew.
        torch._dynamo.reset()
        call = call_of(_compiled(deepcopy(workload.model)), workload.inputs)
        call()
    return call


def _compiled(model: nn.Module) -> Any:
    return torch.compile(model, dynamic=False)
