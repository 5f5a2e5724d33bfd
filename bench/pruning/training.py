"""Training as the papers of the tables describe it: recipes, and one loop for all."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from mnist import Images
from torch import Tensor, nn
from torch.nn import functional as F

import sparsecore as sc


@dataclass(frozen=True, slots=True)
class Recipe:
    """Stochastic gradient descent with a rate that falls at milestones; Adam without momentum.

    `decays_biases` says whether the weight decay is also that of biases.
    """

    steps: int
    batch: int
    learning_rate: float
    momentum: float | None = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    decays_biases: bool = True
    milestones: tuple[int, ...] = ()
    factor: float = 0.1

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Return the optimizer of a model's parameters."""
        parameters: dict[bool, list[nn.Parameter]] = {False: [], True: []}
        for name, parameter in model.named_parameters():
            is_bias = name.endswith("bias")
            parameters[not is_bias or self.decays_biases].append(parameter)
        groups = [
            {"params": found, "weight_decay": self.weight_decay if decays else 0.0}
            for decays, found in parameters.items()
            if found
        ]
        if self.momentum is None:
            return torch.optim.Adam(groups, self.learning_rate, fused=True)
        return torch.optim.SGD(
            groups, self.learning_rate, momentum=self.momentum, nesterov=self.nesterov
        )


Driver = Callable[[nn.Module, torch.optim.Optimizer], AbstractContextManager[Any]]


def train(
    model: nn.Module,
    images: Images,
    recipe: Recipe,
    *,
    seed: int,
    driver: Driver | None = None,
) -> list[float]:
    """Train in place; return the test error after each epoch and at the end, in percent.

    `driver` makes what holds the masks (a Pruner, RigL, ...) from the model and its optimizer.
    """
    optimizer, errors = recipe.optimizer(model), []
    rates = torch.optim.lr_scheduler.MultiStepLR(
        optimizer, list(recipe.milestones), gamma=recipe.factor
    )
    epoch = len(images.y_train) // recipe.batch
    with nullcontext() if driver is None else driver(model, optimizer):
        for step in steps(model, optimizer, images, recipe, seed=seed):
            rates.step()
            if step % epoch == 0 and step < recipe.steps:
                errors.append(error(model, images))
    return [*errors, error(model, images)]


def steps(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Images,
    recipe: Recipe,
    *,
    seed: int,
) -> Iterator[int]:
    """Take the recipe's steps; yield the number of each when it is done, from 1 on.

    Batches are drawn epoch by epoch, by `seed` alone; what is left of an epoch below one batch is
    dropped.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.empty(0, dtype=torch.int64)
    for step in range(1, recipe.steps + 1):
        if len(order) < recipe.batch:
            order = torch.randperm(len(images.y_train), generator=generator)
        chosen, order = order[: recipe.batch], order[recipe.batch :]
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images.x_train[chosen]), images.y_train[chosen])
        torch.autograd.backward(loss)
        optimizer.step()
        yield step


def error(model: nn.Module, images: Images) -> float:
    """Return the percentage of the test pictures whose class is wrong."""
    with torch.no_grad():
        wrong = model(images.x_test).argmax(1) != images.y_test
    return 100 * float(wrong.double().mean())


def stored_sparse(model: nn.Sequential, masks: Mapping[str, Tensor]) -> nn.Sequential:
    """Return the network whose masked linear layers store and train their kept weights only.

    The losses are those of the masked network to rounding.
    """
    layers = [
        sc.nn.CSRLinear.from_dense(layer) if f"{name}.weight" in masks else layer
        for name, layer in model.named_children()
    ]
    for (name, before), after in zip(model.named_children(), layers, strict=True):
        if before is not after and after.values.numel() != int(masks[f"{name}.weight"].sum()):
            msg = f"layer {name} has kept weights that are zero"
            raise ValueError(msg)
    return nn.Sequential(*layers)
