"""A multilayer perceptron, for inference."""

import itertools

from torch import nn

__all__ = ["mlp", "perceptron"]


def mlp(width: int = 4096) -> nn.Module:
    """Return two layers of width x width with a ReLU between them."""
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))


def perceptron(*widths: int) -> nn.Module:
    """Return linear layers from each width to the next, ReLUs between them."""
    pairs = itertools.pairwise(widths)
    layers = [module for pair in pairs for module in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*layers[:-1])
