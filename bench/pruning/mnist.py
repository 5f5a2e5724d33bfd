"""MNIST as tensors; scikit-learn's digits in its place to try a script."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sparsecore.bench.models.weights import data_folder
from sparsecore.cli.demo_data import digits, mnist


@dataclass(frozen=True, slots=True)
class Images:
    """Pictures as rows (n, pixels), float32, and their classes (n,), int64.

    Those held back are none of those to train with.
    """

    source: str
    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    x_held_back: Tensor
    y_held_back: Tensor


def load(*, quick: bool, standardised: bool = True, held_back: float = 0.0) -> Images:
    """Read MNIST from the folder that SPARSECORE_DATA names, or the digits if `quick`.

    Pixels are in [0, 1], or `standardised` to mean 0 and variance 1 over all of them.
    `held_back` is the share of the training pictures that is left out, for recipes that keep one
    for validation: which pictures is drawn once, with seed 0.
    """
    found = digits() if quick else mnist(data_folder() / "mnist")
    mean, deviation = (found.train_x.mean(), found.train_x.std()) if standardised else (0.0, 1.0)
    x_train, x_test = (
        torch.from_numpy((x.reshape(len(x), -1) - mean) / deviation)
        for x in (found.train_x, found.test_x)
    )
    y_train, y_test = torch.from_numpy(found.train_y), torch.from_numpy(found.test_y)
    order = torch.randperm(len(y_train), generator=torch.Generator().manual_seed(0))
    back, kept = order.tensor_split([round(held_back * len(order))])
    return Images(
        found.name, x_train[kept], y_train[kept], x_test, y_test, x_train[back], y_train[back]
    )
