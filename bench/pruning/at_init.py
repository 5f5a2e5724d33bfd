"""Masks of a network that has not been trained, and the two controls of such masks."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from mnist import Images
from torch import Tensor, nn

from sparsecore import pruning
from sparsecore.pruning import allocation, scores

_BATCH = 100
# GraSP looks at so many pictures of each class, in two halves (Wang et al. 2020, section 5.1).
_OF_EACH_CLASS = 25
_ROUNDS = 100

Masks = dict[str, Tensor]


def found_masks(
    method: str, model: nn.Module, sparsity: float, images: Images, *, seed: int
) -> Masks:
    """Prune an untrained network in place by a method's name; return the masks."""
    generator = torch.Generator().manual_seed(seed)
    options: Mapping[str, Any] = METHODS[method](images, generator)
    return pruning.prune(model, sparsity, allocation=allocation.global_, **options)


def _snip(images: Images, generator: torch.Generator) -> dict[str, Any]:
    chosen = torch.randperm(len(images.y_train), generator=generator)[:_BATCH]
    return {"score": scores.snip, "batches": [(images.x_train[chosen], images.y_train[chosen])]}


def _grasp(images: Images, generator: torch.Generator) -> dict[str, Any]:
    order = torch.randperm(len(images.y_train), generator=generator)
    of_each = [order[images.y_train[order] == label] for label in range(10)]
    half = _OF_EACH_CLASS // 2
    halves = [torch.cat([found[:half] for found in of_each])]
    halves.append(torch.cat([found[half:_OF_EACH_CLASS] for found in of_each]))
    batches = [(images.x_train[chosen], images.y_train[chosen]) for chosen in halves]
    return {"score": scores.grasp, "batches": batches}


def _synflow(images: Images, _: torch.Generator) -> dict[str, Any]:
    return {
        "score": scores.synflow,
        "batches": [(images.x_train[:1], images.y_train[:1])],
        "schedule": pruning.Iterative(_ROUNDS, "exponential"),
    }


def _magnitude(_: Images, __: torch.Generator) -> dict[str, Any]:
    return {"score": scores.magnitude}


def _random(_: Images, generator: torch.Generator) -> dict[str, Any]:
    return {"score": partial(scores.random, generator=generator)}


METHODS: Mapping[str, Callable[[Images, torch.Generator], dict[str, Any]]] = {
    "SNIP": _snip,
    "GraSP": _grasp,
    "SynFlow": _synflow,
    "magnitude": _magnitude,
    "random": _random,
}
