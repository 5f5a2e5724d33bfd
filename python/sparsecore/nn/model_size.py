"""What a model consists of: its layers' sizes, its parameters, the work of a run."""

from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sparsecore.nn.example import Example, undisturbed
from sparsecore.nn.taint import Layer

__all__ = ["layer_sizes", "macs_of", "parameter_count"]


def layer_sizes(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Return (inputs, outputs) of each linear layer and convolution by name."""
    return {
        name: (module.in_features, module.out_features)
        if isinstance(module, nn.Linear)
        else (module.in_channels, module.out_channels)
        for name, module in model.named_modules()
        if isinstance(module, Layer)
    }


def parameter_count(model: nn.Module) -> int:
    """Return how many numbers all parameters have."""
    return sum(p.numel() for p in model.parameters())


def macs_of(model: nn.Module, example: Example) -> int:
    """Return the multiply-accumulates of one run, of convolutions and matrix products."""
    with undisturbed(model), FlopCounterMode(display=False) as counter:
        example.copy().call(model)
    return int(counter.get_total_flops()) // 2
