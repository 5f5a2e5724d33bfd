"""Models for `doctor`, each with one thing that keeps it from being faster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

import sparsecore as sc
from diagnosis_cases import pruned, two_of_four
from oracle import Array
from sparsify_cases import Wrapped


def filled(layer: Any, weight: Array) -> Any:
    """Give a layer a weight, as it is or in the layer's shape."""
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight).reshape(layer.weight.shape))
    return layer


def linear(k: int = 64, m: int = 64, *, sparsity: float = 0.9, **options: Any) -> nn.Linear:
    layer: nn.Linear = filled(nn.Linear(k, m, **options), pruned(m, k, sparsity=sparsity))
    return layer


def conv(channels: int = 16, *, sparsity: float = 0.0) -> nn.Conv2d:
    layer = nn.Conv2d(channels, channels, 3, padding=1)
    return filled(layer, pruned(*layer.weight.shape, sparsity=sparsity))


class HalfMask(nn.Module):
    """A parametrization that keeps every other entry."""

    def forward(self, original: Tensor) -> Tensor:
        kept = torch.arange(original.numel()) % 2 == 0
        return original * kept.view(original.shape)


class MaskedLinear(nn.Module):
    """A layer as papers write it, with nothing of torch's pruning."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.randn(64, 64))
        self.register_buffer("gamma", torch.from_numpy(pruned(64, 64) != 0))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.theta * self.gamma)


class Projection(nn.Module):
    """A product with a bare parameter, the other way round: (inputs, outputs)."""

    def __init__(self, weight: Array) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.from_numpy(weight))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(torch.zeros(self.w.shape[1]), x, self.w)


class Quantized(nn.Module):
    """int8 codes with a scale a row, widened in each forward."""

    def __init__(self) -> None:
        super().__init__()
        codes = pruned(64, 64) * 20
        self.register_buffer("q", torch.from_numpy(codes.astype(np.int8)))
        self.register_buffer("s", torch.rand(64, 1) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.q.float() * self.s)


class LowRank(nn.Module):
    """A sparse weight and a product that fills its zeros in each forward."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.from_numpy(pruned(64, 64)))
        self.a, self.b = nn.Parameter(torch.randn(4, 64)), nn.Parameter(torch.randn(64, 4))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.w + self.b @ self.a)


class Experts(nn.Module):
    """A mixture: einsum copies its weights in another order before it multiplies."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.from_numpy(pruned(4, 64, 64)))
        self.router = nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bd,edf,be->bf", x, self.w, self.router(x).softmax(-1))


class Einsum(nn.Module):
    """A product that sums over any axis of its weight."""

    def __init__(self, equation: str, weight: Any) -> None:
        super().__init__()
        self.equation, self.w = equation, nn.Parameter(torch.from_numpy(weight))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum(self.equation, x, self.w)


def hooked() -> nn.Module:
    return nn.Sequential(prune.l1_unstructured(nn.Linear(64, 64), "weight", 0.9))


def parametrized() -> nn.Module:
    layer = nn.Linear(64, 64)
    parametrize.register_parametrization(layer, "weight", HalfMask())
    return nn.Sequential(layer)


def tied() -> nn.Module:
    embedding, head = nn.Embedding(64, 64), linear()
    head.weight = filled(embedding, pruned(64, 64)).weight
    return Wrapped(lambda self, x: self.head(self.embedding(x.long().clamp(0, 9)).mean(1)),
                   embedding=embedding, head=head)  # fmt: skip


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
    filled(layer.linear1, pruned(128, 64))
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


def conv_net() -> nn.Module:
    """Convolutions without zeros, and one linear layer of a hundredth of their work."""
    return nn.Sequential(conv(16), nn.ReLU(), conv(16), nn.Flatten(), linear(16 * 64, 16))


def converted() -> nn.Module:
    return nn.Sequential(sc.nn.CSRLinear.from_dense(linear(256, 256)))


def _pruned_lstm() -> nn.LSTM:
    lstm = nn.LSTM(64, 64)
    with torch.no_grad():
        lstm.weight_ih_l0.copy_(torch.from_numpy(pruned(256, 64)))
    return lstm


# What to diagnose, on what, and the verdicts of its weights.
MODELS: Mapping[str, tuple[Any, Any, set[str]]] = {
    "hook": (hooked, torch.ones(32, 64), {"mask-in-forward"}),
    "parametrization": (parametrized, torch.ones(32, 64), {"mask-in-forward"}),
    "by hand": (MaskedLinear, torch.ones(32, 64), {"mask-in-forward"}),
    "mlp": (
        lambda: nn.Sequential(
            linear(), nn.ReLU(), linear(sparsity=0.4), nn.ReLU(), nn.Linear(64, 9)
        ),
        torch.ones(32, 64),
        {"zeros-stored-dense", "below-break-even", "no-zeros"},
    ),
    "bare parameter": (
        lambda: Projection(pruned(64, 64)),
        torch.ones(32, 64),
        {"zeros-stored-dense"},
    ),
    "wrong axis": (
        lambda: nn.Sequential(filled(nn.Linear(64, 64), two_of_four(64, 64, axis=0))),
        torch.ones(32, 64),
        {"wrong-axis"},
    ),
    "wrong axis, turned": (
        lambda: Projection(two_of_four(64, 64, axis=1)),
        torch.ones(32, 64),
        {"wrong-axis"},
    ),
    "right axis": (
        lambda: nn.Sequential(filled(nn.Linear(64, 64), two_of_four(64, 64, axis=1))),
        torch.ones(32, 64),
        {"zeros-stored-dense"},
    ),
    "tiny": (lambda: nn.Sequential(linear(8, 8)), torch.ones(1, 8), {"shape"}),
    "dtype": (
        lambda: nn.Sequential(linear(dtype=torch.complex64)),
        torch.ones(32, 64, dtype=torch.complex64),
        {"no-kernel"},
    ),
    "conv1d": (
        lambda: nn.Sequential(filled(nn.Conv1d(8, 8, 3), pruned(8, 8, 3))),
        torch.ones(1, 8, 64),
        {"no-kernel"},
    ),
    "encoder": (encoder, torch.ones(2, 8, 64), {"breaks-fusion", "no-zeros"}),
    "lstm": (
        lambda: Wrapped(lambda self, x: self.rnn(x)[0], rnn=_pruned_lstm()),
        torch.ones(4, 8, 64),
        {"breaks-fusion", "no-zeros"},
    ),
    "tied": (tied, torch.ones(32, 4), {"not-exchangeable"}),
    "quantized": (Quantized, torch.ones(32, 64), {"not-exchangeable"}),
    "embedding": (
        lambda: nn.Sequential(filled(nn.Embedding(64, 64), pruned(64, 64)), nn.Linear(64, 9)),
        torch.zeros(2, 3, dtype=torch.long),
        {"looked-up", "no-zeros"},
    ),
    "convolutions": (conv_net, torch.ones(2, 16, 8, 8), {"no-zeros", "zeros-stored-dense"}),
    "spectral norm": (
        lambda: nn.Sequential(parametrizations.spectral_norm(linear())),
        torch.ones(32, 64),
        {"not-exchangeable"},
    ),
    "lora": (LowRank, torch.ones(32, 64), {"no-zeros"}),
    "experts": (Experts, torch.ones(32, 64), {"zeros-stored-dense", "no-zeros"}),
    "the last axis": (
        lambda: Einsum("bek,enk->ben", pruned(1, 64, 64)),
        torch.ones(32, 1, 64),
        {"zeros-stored-dense"},
    ),
    "a new axis": (
        lambda: Einsum("btk,hko->bto", pruned(4, 16, 8)),
        torch.ones(2, 32, 16),
        {"not-exchangeable"},
    ),
    "grouped": (
        lambda: nn.Sequential(filled(nn.Conv2d(16, 16, 3, groups=4), pruned(16, 4, 3, 3))),
        torch.ones(1, 16, 8, 8),
        {"unknown"},
    ),
    "too close": (
        lambda: nn.Sequential(linear(sparsity=0.5)),
        torch.ones(32, 64),
        {"unknown"},
    ),
    # Of this seed, all groups along the outputs have at most two, and one along the inputs has not.
    "2:4 by chance": (
        lambda: nn.Sequential(filled(nn.Linear(64, 10), pruned(10, 64, seed=1))),
        torch.ones(1, 64),
        {"shape"},
    ),
    "converted": (converted, torch.ones(32, 256), {"runs-sparse"}),
    "converted for nothing": (
        lambda: nn.Sequential(sc.nn.CSRLinear.from_dense(linear(sparsity=0.1))),
        torch.ones(32, 64),
        {"below-break-even"},
    ),
}
