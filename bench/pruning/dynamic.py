"""RigL, SET, static and gradual magnitude pruning: LeNet-300-100 on MNIST (Evci et al. 2020).

The configuration is that of the authors' code for MNIST: momentum 0.9 (Nesterov), rate 0.2, a third
of it from epochs 75 and 95 on, L2 1e-4 on the weights, batches of 100, 200 epochs; the first layer
has the named sparsity, the second 0.9 of it, the last is dense; masks are updated every 100 steps
up to step 50,000. Gradual pruning goes from step 2,000 to 30,000 in steps of 500.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from mnist import Images, load
from nets import glorot_, lenet_300_100
from runs import Cell, arguments, collect, draw_errors, finish, spread, summary
from torch import Tensor, nn
from training import Recipe, stored_sparse, train

from sparsecore import pruning

RECIPE = Recipe(
    steps=120_000,
    batch=100,
    learning_rate=0.2,
    nesterov=True,
    weight_decay=1e-4,
    decays_biases=False,
    milestones=(45_000, 57_000),
    factor=1 / 3,
)
QUICK = replace(RECIPE, steps=150, milestones=(60, 80))
EVERY = 100
ALPHA = 0.3
UPDATES_END = 50_000 / 120_000
GRADUAL = (2_000 / 120_000, 30_000 / 120_000, 500 / 120_000)
# By the sparsity of the first layer. The paper's own figure is of 99 %.
METHODS = {
    0.0: ("dense",),
    0.98: ("static", "SET", "RigL", "gradual"),
    0.99: ("static", "RigL"),
}
LAYERS = {"0.weight": 1.0, "2.weight": 0.9}


def counts(weights: Mapping[str, Tensor], sparsity: float) -> dict[str, int]:
    """Return what each layer keeps where the first has this sparsity."""
    return {
        name: weights[name].numel() - round(share * sparsity * weights[name].numel())
        for name, share in LAYERS.items()
    }


def total(model: nn.Module, sparsity: float) -> float:
    """Return the sparsity of the pruned layers together."""
    weights = {name: model.get_parameter(name) for name in LAYERS}
    size = sum(w.numel() for w in weights.values())
    return 1 - sum(counts(weights, sparsity).values()) / size


def run(cell: Cell, *, images: Images, recipe: Recipe) -> dict[str, Any]:
    """Train one network; return its errors in percent and how many units are alive."""
    method, sparsity, seed = cell["method"], cell["sparsity"], cell["seed"]
    # As TensorFlow begins it.
    model = glorot_(lenet_300_100(images.x_train.shape[1], seed=seed), seed=seed)
    driver = None
    if method == "gradual":
        driver = partial(gradual, sparsity=sparsity, steps=recipe.steps)
    elif method != "dense":
        generator = torch.Generator().manual_seed(seed)
        masks = pruning.prune(
            model,
            total(model, sparsity),
            score=partial(pruning.scores.random, generator=generator),
            allocation=lambda scores, _: counts(scores, sparsity),
            where=lambda name, _: name in LAYERS,
        )
        model = stored_sparse(model, masks)
        if method != "static":
            driver = partial(DRIVERS[method], total_steps=recipe.steps, every=EVERY)
            driver = partial(driver, alpha=ALPHA, end=UPDATES_END)
    errors = train(model, images, recipe, seed=seed, driver=driver)
    alive = live_units([dense_weight(layer) for layer in model if hasattr(layer, "in_features")])
    return {"error": errors[-1], "best error": min(errors), "live units": alive}


DRIVERS: Mapping[str, Any] = {"SET": pruning.SET, "RigL": pruning.RigL}


def gradual(
    model: nn.Module, optimizer: torch.optim.Optimizer, *, sparsity: float, steps: int
) -> AbstractContextManager[Any]:
    """Prune by magnitude on the cubic ramp; layers keep their sparsities' proportion."""
    begin, end, every = (max(1, round(share * steps)) for share in GRADUAL)
    final = total(model, sparsity)
    return pruning.Pruner(
        model,
        sparsity=final,
        optimizer=optimizer,
        allocation=lambda scores, now: counts(scores, sparsity * now / final),
        schedule=pruning.Cubic(begin=begin, end=end, every=every),
        where=lambda name, _: name in LAYERS,
    )


def dense_weight(layer: nn.Module) -> Tensor:
    """Return the weight of a linear layer, whether it stores zeros or not."""
    dense: Any = layer if isinstance(layer, nn.Linear) else layer.to_dense()
    return dense.weight.detach()


def live_units(weights: list[Tensor]) -> list[int]:
    """Return how many inputs, and hidden units of each layer, lie on a path, layer by layer.

    As the authors count: inputs that the first layer reads; units that have an entry of a unit
    alive before them, and one into the next layer.
    """
    before = (weights[0] != 0).any(0)
    alive = [int(before.sum())]
    for weight, after in pairwise(weights):
        before = (weight[:, before] != 0).any(1) & (after != 0).any(0)
        alive.append(int(before.sum()))
    return alive


def table(document: Mapping[str, Any]) -> str:
    """Return means and deviations over the seeds."""
    best = summary(document, "best error")
    alive = summary(document, "live units")
    lines = [
        "| method | first layer, % zeros | test error, % | best epoch's, % | live units, seed 0 |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {method} | {100 * sparsity:g} | {spread(errors)} | {spread(best[method, sparsity])} | "
        f"{'-'.join(map(str, alive[method, sparsity][0]))} |"
        for (method, sparsity), errors in summary(document, "error").items()
    ]
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, then write table and plot."""
    title = "Dynamic sparse training of LeNet-300-100"
    options = arguments(title)
    images = load(quick=options.quick, standardised=False)
    recipe = QUICK if options.quick else RECIPE
    about = {"title": title, "images": images.source, "recipe": asdict(recipe)}
    cells = [
        {"method": method, "sparsity": sparsity, "seed": seed}
        for seed in range(options.seeds)
        for sparsity, methods in METHODS.items()
        for method in methods
    ]
    document = collect(options.output, about, cells, partial(run, images=images, recipe=recipe))
    finish(options.output, document, table(document), partial(draw_errors, document=document))


if __name__ == "__main__":
    main()
