"""The networks that are measured whole: plain torch.nn definitions, so that nothing is hidden."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from sparsecore.bench.models.mlp import mlp
from sparsecore.bench.models.mobilenet import MobileNetV1
from sparsecore.bench.models.resnet import ResNet20, ResNet50
from sparsecore.bench.models.transformer import DecodeStep, bert_base
from sparsecore.bench.models.weights import data_folder, seeded, trained

__all__ = ["NETWORKS", "Inputs", "Network", "load"]

Inputs = tuple[Tensor, ...]
"""What a network is called with."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network.

    `inputs` draws those of a batch. `batches` are measured by default. `ends` are the layers that
    no pattern prunes: the first convolution and the classifier; of a part of a network, such as
    some transformer layers, there are none. `file` holds trained weights, in the data folder.
    """

    build: Callable[[], nn.Module]
    inputs: Callable[[int, torch.Generator], Inputs]
    batches: tuple[int, ...]
    ends: tuple[str, ...] = ()
    file: str | None = None


def load(network: Network, seed: int) -> tuple[nn.Module, str]:
    """Return the network in evaluation mode, and whether its weights are "trained" or "random"."""
    if network.file is not None:
        path = data_folder() / network.file
        if path.is_file():
            return trained(network.build, path), "trained"
    return seeded(network.build, torch.Generator().manual_seed(seed)), "random"


def _of_shape(*shape: int) -> Callable[[int, torch.Generator], Inputs]:
    def draw(batch: int, generator: torch.Generator) -> Inputs:
        return (torch.randn(batch, *shape, generator=generator),)

    return draw


def _with_cache(
    batch: int, generator: torch.Generator, *, width: int, heads: int, tokens: int
) -> Inputs:
    kept = (batch, heads, tokens, width // heads)
    shapes = ((batch, 1, width), kept, kept)
    return tuple(torch.randn(shape, generator=generator) for shape in shapes)


NETWORKS: Mapping[str, Network] = {
    "resnet50": Network(ResNet50, _of_shape(3, 224, 224), (1, 16), ("conv1", "fc")),
    "resnet20": Network(
        ResNet20, _of_shape(3, 32, 32), (1, 64), ("conv1", "linear"), "models/resnet20.npz"
    ),
    "mobilenetv1": Network(MobileNetV1, _of_shape(3, 224, 224), (1, 16), ("features.0.0", "fc")),
    "bert": Network(bert_base, _of_shape(128, 768), (1, 8)),
    "mlp": Network(mlp, _of_shape(4096), (1, 8, 64)),
    # The 128th token: 127 are in the cache.
    "gpt": Network(DecodeStep, partial(_with_cache, width=2048, heads=16, tokens=127), (1, 8)),
}
