"""SNIP: LeNet-300-100 on MNIST, pruned before it is trained (Lee et al. 2019, table 1).

The configuration is the paper's: momentum 0.9, rate 0.1 and a tenth of it every 25,000 steps,
weight decay 5e-4, batches of 100, one of which SNIP looks at; a tenth of the training pictures is
left out. It stops at 100,000 steps, where the rate has come down to 1e-5.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from at_init import found_masks
from mnist import Images, load
from nets import lenet_300_100
from runs import Cell, arguments, collect, draw_errors, error_table, finish
from training import Recipe, stored_sparse, train

RECIPE = Recipe(
    steps=100_000,
    batch=100,
    learning_rate=0.1,
    weight_decay=5e-4,
    milestones=(25_000, 50_000, 75_000),
)
QUICK = replace(RECIPE, steps=60, milestones=(15, 30, 45))
HELD_BACK = 0.1
SPARSITIES = (0.0, 0.95, 0.98)


def run(cell: Cell, *, images: Images, recipe: Recipe) -> Mapping[str, Any]:
    """Train one network; return its error in percent."""
    model = lenet_300_100(images.x_train.shape[1], seed=cell["seed"])
    if cell["sparsity"]:
        masks = found_masks("SNIP", model, cell["sparsity"], images, seed=cell["seed"])
        model = stored_sparse(model, masks)
    return {"error": train(model, images, recipe, seed=cell["seed"])[-1]}


def main() -> None:
    """Run what is missing, then write table and plot."""
    title = "SNIP of LeNet-300-100"
    options = arguments(title)
    images = load(quick=options.quick, held_back=HELD_BACK)
    recipe = QUICK if options.quick else RECIPE
    about = {"title": title, "images": images.source, "recipe": asdict(recipe)}
    cells = [
        {"method": "SNIP" if sparsity else "dense", "sparsity": sparsity, "seed": seed}
        for seed in range(options.seeds)
        for sparsity in SPARSITIES
    ]
    document = collect(options.output, about, cells, partial(run, images=images, recipe=recipe))
    finish(options.output, document, error_table(document), partial(draw_errors, document=document))


if __name__ == "__main__":
    main()
