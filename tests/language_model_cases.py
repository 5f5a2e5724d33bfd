"""A small GPT, the text that it learns, and its loss."""

from __future__ import annotations

import argparse
import ast
import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Let torch have one thread: with tensors this small, more of them wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Block(nn.Module):
    """A decoder block; `mask` is added to the attention's scores, and not changed."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.output = nn.Linear(width, width), nn.Linear(width, width)
        self.grow, self.shrink = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        y = self.norm1(x)
        q, k, v = (
            part(y).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
        x = x + self.output(mixed)
        return x + self.shrink(F.gelu(self.grow(self.norm2(x))))


class GPT(nn.Module):
    """Characters in, scores of the next one out."""

    def __init__(self, vocabulary: int, width: int, depth: int, *, heads: int = 4) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.h = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary)
        angles = torch.arange(512.0)[:, None] * 0.03 ** (torch.arange(width) / width)
        # As tables of positions mostly are: in no checkpoint.
        self.register_buffer("places", angles.sin(), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        x = self.tokens(tokens) + self.places[:length]
        mask = torch.full((length, length), -torch.inf).triu(1)
        for block in self.h:
            x = block(x, mask=mask)
        return self.head(self.norm(x))


def text() -> Tensor:
    """Return the numbers of the characters of some modules of the standard library."""
    modules = (argparse, ast, difflib)
    source = "".join(Path(str(m.__file__)).read_text(encoding="utf-8") for m in modules)
    return torch.tensor([min(ord(c), 127) for c in source])


def loss_of(model: nn.Module, tokens: Tensor) -> Tensor:
    """Return the mean loss of the next character, in nats."""
    return F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())


def trained(tokens: Tensor, steps: int, **sizes: Any) -> GPT:
    torch.manual_seed(0)
    model = GPT(128, **sizes)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=steps)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        starts = torch.randint(len(tokens) - 65, (16,), generator=generator)
        optimizer.zero_grad()
        loss_of(model, tokens[starts[:, None] + torch.arange(65)]).backward()
        optimizer.step()
        schedule.step()
    return model
