"""Masks of a network that has not been trained, and the two controls of such masks."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from mnist import Images
from torch import Tensor, nn

from sparsecore import pruning
from sparsecore.pruning import allocation, scores

# GraSP looks at so many pictures of each class, in two halves (Wang et al. 2020, section 5.1).
_OF_EACH_CLASS = 25
_ROUNDS = 100

Masks = dict[str, Tensor]


def found_masks(
    method: str,
    model: nn.Module,
    sparsity: float,
    images: Images,
    *,
    seed: int,
    batch: int = 100,
) -> Masks:
    """Prune an untrained network in place by a method's name; return the masks.

    SNIP looks at one batch.
    """
    generator = torch.Generator().manual_seed(seed)
    options: Mapping[str, Any] = METHODS[method](images, batch, generator)
    return pruning.prune(model, sparsity, allocation=allocation.global_, **options)


def _snip(images: Images, batch: int, generator: torch.Generator) -> dict[str, Any]:
    chosen = torch.randperm(len(images.y_train), generator=generator)[:batch]
    return {"score": scores.snip, "batches": [(images.x_train[chosen], images.y_train[chosen])]}


def _grasp(images: Images, _: int, generator: torch.Generator) -> dict[str, Any]:
    batches = scores.class_balanced_batches(
        images.x_train, images.y_train, per_class=_OF_EACH_CLASS, batches=2, generator=generator
    )
    return {"score": scores.grasp, "batches": batches}


def _synflow(images: Images, _: int, __: torch.Generator) -> dict[str, Any]:
    return {
        "score": scores.synflow,
        "batches": [(images.x_train[:1], images.y_train[:1])],
        "schedule": pruning.Iterative(_ROUNDS, "exponential"),
    }


def _magnitude(_: Images, __: int, ___: torch.Generator) -> dict[str, Any]:
    return {"score": scores.magnitude}


def _random(_: Images, __: int, generator: torch.Generator) -> dict[str, Any]:
    return {"score": partial(scores.random, generator=generator)}


METHODS: Mapping[str, Callable[[Images, int, torch.Generator], dict[str, Any]]] = {
    "SNIP": _snip,
    "GraSP": _grasp,
    "SynFlow": _synflow,
    "magnitude": _magnitude,
    "random": _random,
}
