"""What ranks run in the tests of what is refused on several of them. They never load pytest."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel

from parallel_pruning_cases import batches, loss, network, parameters, wrapped
from parallel_training_cases import stack
from sparsecore.pruning import NM, SET, Block, Iterative, Unstructured, prune, prune_blocks, scores


def flattening() -> nn.Module:
    """Return an FSDP1 wrapper, which without an accelerator cannot be made whole."""
    wrapper = FullyShardedDataParallel.__new__(FullyShardedDataParallel)
    nn.Module.__init__(wrapper)
    return wrapper


def refused(rank: int, group: Any, what: str) -> Any:
    """Do what is not possible."""
    own = batches()[rank::2]
    model = network()
    if rank and what == "weights":
        with torch.no_grad():
            model[2].weight.neg_().add_(torch.arange(45.0).view(3, 15))
    generator = torch.Generator().manual_seed(rank)
    random = functools.partial(scores.random, generator=generator)
    plain = {
        "weights": lambda: prune(model, 0.5, group=group),
        "unreduced": lambda: prune(
            model,
            0.5,
            score=lambda w, **_: scores.snip(w, model=model, batches=own, loss=loss),
            group=group,
        ),
        "generators": lambda: prune(model, 0.5, score=random, group=group),
        "no batches": lambda: prune(
            model, 0.5, score=scores.snip, loss=loss, batches=own if rank else [], group=group
        ),
        "FSDP1": lambda: prune(flattening(), 0.5),
        "text": lambda: prune_blocks(
            stack(),
            [torch.zeros(1, 12 + rank, dtype=torch.int64)],
            blocks="1",
            sparsity=0.5,
            sequence_length=12,
            group=group,
        ),
    }
    if what in plain:
        return plain[what]()
    model = wrapped(group, "FSDP2", model)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    masks = {name: weight.detach() > 0 for name, weight in parameters(model).items()}
    sharded = {
        "lamp": lambda: prune(model, 0.5, score=scores.lamp),
        "taylor": lambda: prune(model, 0.5, score=scores.taylor, batches=own),
        "pattern": lambda: prune(model, 0.5, pattern=Block(1, 3)),
        "axis": lambda: prune(model, 0.5, pattern=NM(1, 2, axis=0)),
        "columns": lambda: prune(model, 0.5, pattern=Unstructured(axis=1)),
        "allocation": lambda: prune(model, 0.5, allocation=lambda s, _: dict.fromkeys(s, 3)),
        "rounds": lambda: prune(
            model, 0.5, score=scores.snip, batches=own, loss=loss, schedule=Iterative(2)
        ),
        "uneven": lambda: prune(model, 0.5, score=scores.snip, batches=own[: 2 + rank], loss=loss),
        "NaN": lambda: prune(
            model, 0.5, score=lambda w: {n: x.detach() / rank * 0 for n, x in w.items()}
        ),
        "whole": lambda: prune(
            model, 0.5, score=lambda w: {n: x.full_tensor() for n, x in w.items()}
        ),
        "SET": lambda: SET(model, sgd, total_steps=9, masks=masks),
    }
    return sharded[what]()
