"""A multilayer perceptron, for inference."""

from torch import nn

__all__ = ["mlp"]


def mlp(width: int = 4096) -> nn.Module:
    """Return two layers of width x width with a ReLU between them."""
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
