"""The demo's network: built, trained, and pruned while it is fine-tuned."""

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from sparsecore.cli.demo_data import Array, Dataset
from sparsecore.cli.stages import Tick
from sparsecore.pruning import NM, Cubic, Pruner

__all__ = [
    "Recipe",
    "accuracy",
    "densities",
    "linears",
    "mlp",
    "nonzeros",
    "prune_24",
    "prune_unstructured",
    "train_dense",
]

_UPDATES_AN_EPOCH = 2


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the network is made: layer widths from pixels to classes, epochs of each training."""

    widths: tuple[int, ...]
    epochs: int
    seed: int
    batch: int = 64
    learning_rate: float = 1e-3
    sparsity: float = 0.9

    @property
    def short_epochs(self) -> int:
        """Epochs of fine-tuning after a pruning that takes half of the weights only."""
        return max(1, self.epochs // 2)

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the linear layers."""
        return tuple(f"fc{i}" for i in range(1, len(self.widths)))

    def steps(self, images: int) -> int:
        """Optimizer steps of one epoch."""
        return math.ceil(images / self.batch)


# ---- building ----


def mlp(widths: Sequence[int]) -> nn.Sequential:
    """Return linear layers fc1, fc2, ... with ReLU between them, their numbers not yet written."""
    model = nn.Sequential()
    for i, (n_in, n_out) in enumerate(pairwise(widths), start=1):
        if i > 1:
            model.add_module(f"relu{i - 1}", nn.ReLU())
        # skip_init: nn.Linear's own start would be drawn from torch's global generator.
        linear = nn.utils.skip_init(nn.Linear, n_in, n_out)  # type: ignore[no-untyped-call]
        model.add_module(f"fc{i}", linear)
    return model


def linears(model: nn.Module) -> dict[str, nn.Linear]:
    """Return the dense linear layers by name."""
    return {name: m for name, m in model.named_modules() if isinstance(m, nn.Linear)}


def densities(model: nn.Module) -> dict[str, float]:
    """Return the fraction of weights that are not zero, by layer."""
    return {
        name: int(torch.count_nonzero(layer.weight)) / layer.weight.numel()
        for name, layer in linears(model).items()
    }


def nonzeros(model: nn.Module) -> int:
    """Count the parameters that are not pruned: nonzero weights, and all biases."""
    return sum(
        int(torch.count_nonzero(layer.weight)) + layer.bias.numel()
        for layer in linears(model).values()
    )


@torch.no_grad()
def _initialized(widths: Sequence[int], generator: torch.Generator) -> nn.Sequential:
    model = mlp(widths)
    for layer in linears(model).values():
        nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
        nn.init.zeros_(layer.bias)
    return model


# ---- training ----


def train_dense(data: Dataset, recipe: Recipe, tick: Tick) -> nn.Sequential:
    """Train a network from random numbers; `tick` is called after each epoch."""
    generator = torch.Generator().manual_seed(recipe.seed)
    model = _initialized(recipe.widths, generator)
    _train(model, _adam(model, recipe), data, recipe, recipe.epochs, generator, tick)
    return model.eval()


def prune_unstructured(
    dense: nn.Sequential, data: Dataset, recipe: Recipe, tick: Tick
) -> nn.Sequential:
    """Prune a copy, anywhere, on a cubic ramp over two thirds of its fine-tuning."""
    model = copy.deepcopy(dense)
    steps = recipe.steps(len(data.train_x))
    ramp = Cubic(
        begin=0,
        end=max(1, 2 * recipe.epochs * steps // 3),
        every=max(1, steps // _UPDATES_AN_EPOCH),
    )
    optimizer = _adam(model, recipe)
    generator = torch.Generator().manual_seed(recipe.seed)
    with Pruner(model, sparsity=recipe.sparsity, schedule=ramp, optimizer=optimizer):
        _train(model, optimizer, data, recipe, recipe.epochs, generator, tick)
    return model.eval()


def prune_24(dense: nn.Sequential, data: Dataset, recipe: Recipe, tick: Tick) -> nn.Sequential:
    """Prune a copy to two of each four at once, then fine-tune it."""
    model = copy.deepcopy(dense)
    optimizer = _adam(model, recipe)
    generator = torch.Generator().manual_seed(recipe.seed)
    with Pruner(model, sparsity=0.5, pattern=NM(2, 4), optimizer=optimizer):
        _train(model, optimizer, data, recipe, recipe.short_epochs, generator, tick)
    return model.eval()


def _adam(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=recipe.learning_rate)


def _train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: Dataset,
    recipe: Recipe,
    epochs: int,
    generator: torch.Generator,
    tick: Tick,
) -> None:
    x, y = torch.from_numpy(data.train_x), torch.from_numpy(data.train_y)
    model.train()
    with _reproducible():
        for _ in range(epochs):
            order = torch.randperm(len(x), generator=generator)
            for rows in torch.split(order, recipe.batch):
                optimizer.zero_grad()
                torch.autograd.backward(F.cross_entropy(model(x[rows]), y[rows]))
                optimizer.step()
            tick()


@contextmanager
def _reproducible() -> Iterator[None]:
    """Give the same sums on any number of cores: one thread, no operation that varies."""
    threads = torch.get_num_threads()
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(before, warn_only=warn_only)


@torch.no_grad()
def accuracy(model: nn.Module, x: Array, y: Array) -> float:
    """Return the fraction of images whose label the model finds."""
    found = model(torch.from_numpy(x)).argmax(dim=1)
    return float((found == torch.from_numpy(y)).double().mean())
