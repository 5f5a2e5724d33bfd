"""The models of the matrix, with what they are called with; nothing of them is known elsewhere."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from sparsecore.bench.models.autoencoder import autoencoder
from sparsecore.bench.models.mlp import perceptron
from sparsecore.bench.models.mobilenet import MobileNetV1
from sparsecore.bench.models.recurrent import LSTMClassifier
from sparsecore.bench.models.resnet import ResNet20
from sparsecore.bench.models.resnext import ResNeXt
from sparsecore.bench.models.tagger import Tagger
from sparsecore.bench.models.transformer import DecodeStep, encoder
from sparsecore.bench.models.unet import UNet
from sparsecore.bench.models.vgg import vgg

__all__ = ["SUBJECTS", "Arguments", "Subject"]

Arguments: TypeAlias = tuple[Tensor, ...] | dict[str, Any]
"""Positional ones, or keywords."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A model. `arguments` draws those of a batch; `batches` are measured by default."""

    build: Callable[[], nn.Module]
    arguments: Callable[[int, torch.Generator], Arguments]
    batches: tuple[int, ...] = (1, 8, 64)


def _of_shape(*shape: int) -> Callable[[int, torch.Generator], Arguments]:
    def draw(batch: int, generator: torch.Generator) -> Arguments:
        return (torch.randn(batch, *shape, generator=generator),)

    return draw


def _decoding(batch: int, generator: torch.Generator) -> Arguments:
    """Return a token of width 512, and the keys and values of 127 earlier ones."""
    shapes = ((batch, 1, 512), (batch, 8, 127, 64), (batch, 8, 127, 64))
    return tuple(torch.randn(shape, generator=generator) for shape in shapes)


def _tokens(batch: int, generator: torch.Generator) -> Arguments:
    numbers = torch.randint(1000, (batch, 32), generator=generator)
    return {"input_ids": numbers, "attention_mask": torch.ones_like(numbers)}


_LARGE = (1, 8, 32)
SUBJECTS: Mapping[str, Subject] = {
    "mlp-small": Subject(partial(perceptron, 64, 128, 10), _of_shape(64)),
    "mlp-wide": Subject(partial(perceptron, 1024, 1024, 1024, 10), _of_shape(1024)),
    "encoder": Subject(encoder, _of_shape(32, 256), _LARGE),
    "decoder": Subject(partial(DecodeStep, 512, 8), _decoding),
    "lstm": Subject(LSTMClassifier, _of_shape(16, 64)),
    "tagger": Subject(Tagger, _tokens, _LARGE),
    "resnet20": Subject(ResNet20, _of_shape(3, 32, 32), _LARGE),
    "mobilenet": Subject(partial(MobileNetV1, 0.5), _of_shape(3, 96, 96), _LARGE),
    "vgg": Subject(vgg, _of_shape(3, 32, 32), _LARGE),
    "unet": Subject(UNet, _of_shape(3, 32, 32), _LARGE),
    "resnext": Subject(ResNeXt, _of_shape(3, 32, 32), _LARGE),
    "autoencoder": Subject(autoencoder, _of_shape(3, 32, 32), _LARGE),
}
