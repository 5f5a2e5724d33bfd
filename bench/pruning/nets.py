"""The networks of the tables, with the initial values that their papers name."""

import math

import torch
from torch import Tensor, nn

# Of a normal distribution cut at two deviations.
_CUT_DEVIATION = 0.87962566


def lenet_300_100(pixels: int, *, seed: int) -> nn.Sequential:
    """Return 784-300-100-10 with ReLU (LeCun et al. 1998), for `pixels` inputs."""
    layers = [nn.Linear(pixels, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)]
    return initialised(nn.Sequential(*layers), seed=seed)


def vgg(widths: tuple[int | str, ...], classes: int, *, seed: int) -> nn.Sequential:
    """Return a VGG with BatchNorm: a 3x3 convolution for each width, a max pool for each "M"."""
    layers: list[nn.Module] = []
    channels = 3
    for width in widths:
        if isinstance(width, str):
            layers.append(nn.MaxPool2d(2))
            continue
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]
    return initialised(nn.Sequential(*layers), seed=seed)


@torch.no_grad()
def initialised(model: nn.Sequential, *, seed: int) -> nn.Sequential:
    """Draw weights with variance 1 / fan-in, cut at two deviations; biases are zeros.

    TensorFlow's variance scaling, with which SNIP's networks begin.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            _scaled_normal_(module.weight, generator)
            nn.init.zeros_(module.bias)
    return model


def glorot_(model: nn.Sequential, *, seed: int) -> nn.Sequential:
    """Draw the weights of linear layers anew, uniformly as Glorot and Bengio (2010)."""
    generator = torch.Generator().manual_seed(seed)
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight, generator=generator)
    return model


def _scaled_normal_(weight: Tensor, generator: torch.Generator) -> None:
    deviation = math.sqrt(1 / weight[0].numel()) / _CUT_DEVIATION
    nn.init.trunc_normal_(
        weight, std=deviation, a=-2 * deviation, b=2 * deviation, generator=generator
    )
