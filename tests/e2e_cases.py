"""A network small enough to measure in a test, and rows as a run would write them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sparsecore.bench.arguments import Options
from sparsecore.bench.models import Network


class Tiny(nn.Module):
    """One of each kind of layer that patterns and engines treat differently."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.conv = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.hidden, self.head = nn.Linear(16, 32), nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        x = torch.relu(self.conv(self.depthwise(x)))
        y: Tensor = self.head(torch.relu(self.hidden(x.mean((2, 3)))))
        return y


def draw(batch: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Return inputs of Tiny, 6 x 6 pixels each."""
    return (torch.randn(batch, 3, 6, 6, generator=generator),)


TINY = Network(Tiny, draw, (1, 2), ("stem", "head"))


def asked(**changes: Any) -> Options:
    """Return the options of a run of Tiny with few samples, torch eager alone."""
    words: dict[str, Any] = {
        "models": ("tiny",),
        "batches": (2,),
        "patterns": ("uniform", "2:4"),
        "sparsities": (50.0, 75.0),
        "engines": (),
        "min_runs": 1,
        "min_seconds": 0.0,
    }
    return Options("e2e", **{**words, **changes})


def measured(pattern: str, sparsity: float, speedup: float) -> Mapping[str, Any]:
    """Return a row as far as the plot reads it."""
    row = {"model": "tiny", "batch": 1, "pattern": pattern, "values": "float32"}
    return {**row, "sparsity": sparsity, "speedup": speedup}
