"""Prune a trained network gradually while it is fine-tuned on few images."""

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sparsecore import pruning
from sparsecore.bench.trained.images import Images, augmented

__all__ = ["Config", "accuracy", "finetune", "logits_of"]

_BATCH = 250


@dataclass(frozen=True, slots=True)
class Config:
    """How a network is pruned and fine-tuned.

    All convolution and linear weights are pruned by magnitude, with one threshold over all layers,
    which rises cubically over the first `ramp` of the steps, every `every` steps. The loss is
    ``(1 - soft) CE(labels) + soft T^2 KL(dense network's softened outputs)``: with few images, what
    the dense network says of them is worth more than their labels, which by default are not used
    (distillation: Hinton et al., arXiv:1503.02531, section 2).
    """

    sparsity: float
    epochs: int = 50
    batch: int = 64
    learning_rate: float = 0.02
    momentum: float = 0.9
    weight_decay: float = 1e-4
    ramp: float = 0.6
    every: int = 16
    soft: float = 1.0
    temperature: float = 4.0
    seed: int = 0


def finetune(
    dense: nn.Module,
    images: Images,
    config: Config,
    tell: Callable[[str], object],
    allocation: Callable[[Mapping[str, Tensor], float], Mapping[str, int]] = (
        pruning.allocation.global_
    ),
) -> nn.Module:
    """Return a pruned copy of `dense`, in evaluation mode; after each epoch `tell` gets a line."""
    model = copy.deepcopy(dense).train().requires_grad_(True)
    teacher = copy.deepcopy(dense).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(config.seed)
    per_epoch = math.ceil(len(images.y_train) / config.batch)
    steps = config.epochs * per_epoch
    optimizer = torch.optim.SGD(
        model.parameters(),
        config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
    )
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    with pruning.Pruner(
        model,
        sparsity=config.sparsity,
        allocation=allocation,
        schedule=_ramp(config, steps),
        optimizer=optimizer,
    ) as pruner:
        for epoch in range(config.epochs):
            order = torch.randperm(len(images.y_train), generator=generator)
            for chosen in torch.split(order, config.batch):
                x = augmented(images.x_train[chosen], generator)
                optimizer.zero_grad()
                loss = _loss(model(x), teacher, x, images.y_train[chosen], config)
                torch.autograd.backward(loss)
                optimizer.step()
                rates.step()
            right = accuracy(model, images.x_test, images.y_test)
            tell(f"epoch {epoch + 1}: {pruner.sparsity():.2%} zeros, {right:.2%} right")
    return model.eval().requires_grad_(False)


def logits_of(model: nn.Module, x: Tensor) -> Tensor:
    """Return the outputs in evaluation mode, (n, classes); the mode is put back."""
    was_training = model.training
    model.eval()
    with torch.no_grad():
        found = torch.cat([model(part) for part in torch.split(x, _BATCH)])
    model.train(was_training)
    return found


def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Return the fraction of pictures whose class is right."""
    return float((logits_of(model, x).argmax(1) == y).double().mean())


def _ramp(config: Config, steps: int) -> pruning.Cubic:
    """Return the schedule; its end is a multiple of the distance of two updates."""
    every = min(config.every, max(1, int(config.ramp * steps)))
    updates = max(1, int(config.ramp * steps) // every)
    return pruning.Cubic(begin=0, end=updates * every, every=every)


def _loss(y: Tensor, teacher: nn.Module, x: Tensor, labels: Tensor, config: Config) -> Tensor:
    with torch.no_grad():
        wanted = F.log_softmax(teacher(x) / config.temperature, 1)
    given = F.log_softmax(y / config.temperature, 1)
    soft = F.kl_div(given, wanted, reduction="batchmean", log_target=True)
    hard = F.cross_entropy(y, labels)
    return (1 - config.soft) * hard + config.soft * config.temperature**2 * soft
