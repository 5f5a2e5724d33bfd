"""What rounding weights to narrower dtypes leaves of them, and a model of such layers."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import torch
from torch import nn

import conv_layers
from linear_layers import prune_, prune_24_
from sparsecore.nn import Report, sparsify_

FORMS = ["bfloat16", "float16", "int8"]


def rounded(weight: Any, form: str) -> np.ndarray[Any, Any]:
    """Return W', (rows, ...), by numpy in float64."""
    W = weight.detach().numpy().astype(np.float64)
    if form != "int8":
        kind = ml_dtypes.bfloat16 if form == "bfloat16" else np.float16
        return W.astype(kind).astype(np.float64)
    rows = W.reshape(len(W), -1)
    largest = np.abs(rows).max(axis=1)
    scale = np.where(largest > 0, largest / 127, 1).astype(np.float32).astype(np.float64)
    return (np.rint(rows / scale[:, None]) * scale[:, None]).reshape(W.shape)


def round_(dense: Any, form: str) -> Any:
    """Round the weight of a dense layer, in place."""
    with torch.no_grad():
        dense.weight.copy_(torch.from_numpy(rounded(dense.weight, form)))
    return dense


class Net(nn.Module):
    """A convolution, and linear layers with and without bias; one is 2:4."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv = conv_layers.pruned(8, in_channels=3, seed=seed)
        self.one = prune_24_(nn.Linear(8, 32))
        self.two = prune_(nn.Linear(32, 4, bias=False))

    def forward(self, x: Any) -> Any:
        y = torch.relu(self.conv(x)).mean((2, 3))
        return self.two(nn.functional.gelu(self.one(y)))


X = conv_layers.images(5, 3, 6, 6)
POLICY = {"conv": "csr", "one": "2:4", "two": "csr"}


def converted(values: Any, **options: Any) -> tuple[Any, Report]:
    """Return a Net whose layers store their values so, and the report."""
    net = Net().eval()
    return net, sparsify_(net, X, **({"policy": POLICY} | options), values=values, trainable=False)
