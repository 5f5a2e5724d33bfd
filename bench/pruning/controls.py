"""What pruning at initialisation really finds: its masks shuffled, its weights drawn anew.

SNIP, GraSP, SynFlow, magnitude and random scores prune LeNet-300-100 before it is trained on MNIST.
Each network is trained as it is; with every layer's mask shuffled (the counts of the layers stay);
and with other initial weights under the same mask (Frankle et al. 2021, "Pruning Neural Networks at
Initialization: Why Are We Missing the Mark?"). The recipe is SNIP's with fewer steps.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import snip
import torch
from at_init import METHODS, found_masks
from mnist import Images, load
from nets import lenet_300_100
from runs import Cell, arguments, collect, draw_errors, error_table, finish
from torch import Tensor, nn
from training import Recipe, stored_sparse, train

from sparsecore import pruning

RECIPE = replace(snip.RECIPE, steps=40_000, milestones=(10_000, 20_000, 30_000))
SPARSITIES = (0.95, 0.98)
CONTROLS = ("as found", "shuffled", "re-initialised")
# Of the weights that take the place of the ones the mask was found with.
_OTHER_SEED = 1_000


def run(cell: Cell, *, images: Images, recipe: Recipe) -> Mapping[str, Any]:
    """Train one network; return its error in percent."""
    seed, pixels = cell["seed"], images.x_train.shape[1]
    model = lenet_300_100(pixels, seed=seed)
    masks = found_masks(cell["method"], model, cell["sparsity"], images, seed=seed)
    if cell["control"] == "shuffled":
        generator = torch.Generator().manual_seed(seed)
        masks = pruning.shuffle_layerwise(masks, generator=generator)
    begins = seed + _OTHER_SEED if cell["control"] == "re-initialised" else seed
    network = masked(lenet_300_100(pixels, seed=begins), masks)
    errors = train(stored_sparse(network, masks), images, recipe, seed=seed)
    return {"error": errors[-1], "kept": {name: int(mask.sum()) for name, mask in masks.items()}}


@torch.no_grad()
def masked(model: nn.Sequential, masks: Mapping[str, Tensor]) -> nn.Sequential:
    """Write zeros where the masks are False; return the model."""
    for name, mask in masks.items():
        model.get_parameter(name).mul_(mask)
    return model


def main() -> None:
    """Run what is missing, then write table and plot."""
    title = "What pruning at initialisation really finds: LeNet-300-100"
    options = arguments(title)
    images = load(quick=options.quick, held_back=snip.HELD_BACK)
    recipe = snip.QUICK if options.quick else RECIPE
    about = {"title": title, "images": images.source, "recipe": asdict(recipe)}
    cells = [
        {"method": method, "control": control, "sparsity": sparsity, "seed": seed}
        for seed in range(options.seeds)
        for sparsity in SPARSITIES
        for method in METHODS
        for control in CONTROLS
    ]
    document = collect(options.output, about, cells, partial(run, images=images, recipe=recipe))
    finish(options.output, document, error_table(document), partial(draw_errors, document=document))


if __name__ == "__main__":
    main()
