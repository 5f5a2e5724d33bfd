"""Accuracy against sparsity of a trained ResNet-20: how to divide the zeros among layers.

Magnitude pruning at once, uniform, ERK, global, and global by LAMP's scores, and 2:4 along the
input channels; then a short fine-tuning on 4,000 pictures of CIFAR-10 with the masks in force. All
convolution and linear weights are pruned (by 2:4 not the first layer's, of three channels).
Accuracy is on 1,000 test pictures: one of them is 0.1 %.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
from runs import Cell, arguments, collect, finish, spread, summary
from torch import nn
from torch.nn import functional as F

from sparsecore import pruning
from sparsecore.bench.models import NETWORKS, load
from sparsecore.bench.models.weights import data_folder
from sparsecore.bench.trained.finetune import accuracy
from sparsecore.bench.trained.images import Images, augmented, from_cifar, from_digits
from sparsecore.pruning import allocation, scores

SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95)
WAYS: Mapping[str, Mapping[str, Any]] = {
    "uniform": {"allocation": allocation.uniform},
    "ERK": {"allocation": allocation.erdos_renyi},
    "global": {"allocation": allocation.global_},
    "LAMP": {"allocation": allocation.global_, "score": scores.lamp},
    "2:4": {"pattern": pruning.NM(2, 4, axis=1), "where": lambda _, weight: weight.shape[1] > 3},
}
_SEMI_STRUCTURED = 0.5


@dataclass(frozen=True, slots=True)
class FineTuning:
    """Stochastic gradient descent with momentum; the rate falls to zero as a cosine."""

    epochs: int = 3
    batch: int = 64
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 1e-4


def run(cell: Cell, *, dense: nn.Module, images: Images, recipe: FineTuning) -> dict[str, float]:
    """Return the accuracy in percent, at once and after the fine-tuning."""
    model = copy.deepcopy(dense).train().requires_grad_(True)
    optimizer = torch.optim.SGD(
        model.parameters(),
        recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
    )
    with pruning.Pruner(
        model, sparsity=cell["sparsity"], optimizer=optimizer, **WAYS[cell["way"]]
    ) as pruner:
        at_once = 100 * accuracy(model, images.x_test, images.y_test)
        fine_tune(model, optimizer, images, recipe, seed=cell["seed"])
        kept = sum(pruner.kept().values())
    tuned = 100 * accuracy(model, images.x_test, images.y_test)
    return {"at once": at_once, "fine-tuned": tuned, "kept": kept}


def fine_tune(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Images,
    recipe: FineTuning,
    *,
    seed: int,
) -> None:
    """Train in place; `seed` draws the batches, and how each picture is shifted and mirrored."""
    generator = torch.Generator().manual_seed(seed)
    steps = recipe.epochs * math.ceil(len(images.y_train) / recipe.batch)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(recipe.epochs):
        order = torch.randperm(len(images.y_train), generator=generator)
        for chosen in torch.split(order, recipe.batch):
            optimizer.zero_grad()
            x = augmented(images.x_train[chosen], generator)
            torch.autograd.backward(F.cross_entropy(model(x), images.y_train[chosen]))
            optimizer.step()
            rates.step()


def table(document: Mapping[str, Any]) -> str:
    """Return a row a sparsity, a column a way: at once, then fine-tuned."""
    at_once, tuned = summary(document, "at once"), summary(document, "fine-tuned")
    ways = list(WAYS)
    lines = [f"| zeros, % | {' | '.join(ways)} |", f"|---|{'---|' * len(ways)}"]
    for sparsity in sorted({sparsity for _, sparsity in tuned}):
        found = [
            f"{at_once[way, sparsity][0]:.1f} / {spread(tuned[way, sparsity])}"
            for way in ways
            if (way, sparsity) in tuned
        ]
        found += [""] * (len(ways) - len(found))
        lines.append(f"| {100 * sparsity:g} | {' | '.join(found)} |")
    dense = f"Accuracy in %, at once / fine-tuned; dense {document['dense accuracy']:.1f}."
    return "\n".join([dense, "", *lines])


def draw(axes: Any, document: Mapping[str, Any]) -> None:
    """Draw a line a way: dotted at once, solid fine-tuned."""
    colours = {way: f"C{place}" for place, way in enumerate(WAYS)}
    for figure, style in (("at once", ":"), ("fine-tuned", "-")):
        groups = summary(document, figure)
        for way, colour in colours.items():
            points = [(100 * s, sum(v) / len(v)) for (w, s), v in groups.items() if w == way]
            label = way if style == "-" else None
            axes.plot(*zip(*points, strict=True), style, marker="o", color=colour, label=label)
    axes.axhline(document["dense accuracy"], color="grey", linestyle="--", label="dense")
    axes.set(xlabel="zeros, %", ylabel="accuracy, %; dotted: at once, solid: fine-tuned")
    axes.legend()


def main() -> None:
    """Run what is missing, then write table and plot."""
    title = "Where the zeros of a trained ResNet-20 should be"
    options = arguments(title, seeds=3)
    images = from_digits() if options.quick else from_cifar(_file())
    recipe = FineTuning()
    if options.quick:
        images, recipe = images.first(64, 50), replace(recipe, epochs=1)
    dense, weights = load(NETWORKS["resnet20"], seed=0)
    about = {
        "title": title,
        "images": f"{images}; {weights}",
        "recipe": asdict(recipe),
        "dense accuracy": 100 * accuracy(dense, images.x_test, images.y_test),
    }
    cells = [
        {"way": way, "sparsity": sparsity, "seed": seed}
        for seed in range(options.seeds)
        for sparsity in SPARSITIES[:: 4 if options.quick else 1]
        for way in WAYS
        if way != "2:4" or sparsity == _SEMI_STRUCTURED
    ]
    one = partial(run, dense=dense, images=images, recipe=recipe)
    document = collect(options.output, about, cells, one)
    finish(options.output, document, table(document), partial(draw, document=document))


def _file() -> Any:
    return data_folder() / "cifar10" / "cifar10_subset.npz"


if __name__ == "__main__":
    main()
