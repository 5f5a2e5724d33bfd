"""At which compression the paths of a VGG are cut (Tanaka et al. 2020, figure 1's order).

A VGG-16 with BatchNorm for 32 x 32 pictures is pruned at initialisation, all layers by one
threshold, to compressions (all weights over kept ones) of whole powers of the square root of ten,
and where a method that prunes at once fails, to four more between. SNIP and GraSP look at pictures
of CIFAR-10, SynFlow takes 100 rounds. Nothing is trained: a network of which no path leads from the
input to an output has the accuracy of a guess. The paper shows accuracies after training; the order
in which the methods fail is what is compared.
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from at_init import found_masks
from mnist import Images
from nets import vgg
from runs import Cell, arguments, collect, finish, summary

from sparsecore import pruning
from sparsecore.bench.models.weights import data_folder
from sparsecore.bench.trained.images import from_cifar, from_digits

WIDTHS = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512)
QUICK_WIDTHS = (8, "M", 16, "M", 16)
METHODS = ("random", "magnitude", "SNIP", "GraSP", "SynFlow")
AT_ONCE = ("random", "magnitude", "SNIP", "GraSP")
HALF_POWERS = range(1, 13)
BATCH = 128
_CIFAR = "cifar10/cifar10_subset.npz"


def run(cell: Cell, *, images: Images, widths: tuple[int | str, ...]) -> dict[str, Any]:
    """Prune one network; return how many weights are kept, and how many of them lie on a path."""
    model = vgg(widths, classes=10, seed=cell["seed"])
    sparsity = 1 - 10 ** (-cell["half powers of ten"] / 2)
    masks = found_masks(cell["method"], model, sparsity, images, seed=cell["seed"], batch=BATCH)
    report = pruning.audit(model, images.x_test[:1], masks=masks)
    layers = report.layers
    return {
        "kept": sum(layer.kept for layer in layers),
        "on a path": sum(layer.connected for layer in layers),
        "empty layers": sum(layer.kept == 0 for layer in layers),
    }


def ends(document: Mapping[str, Any]) -> dict[tuple[str, int], tuple[float, float]]:
    """Return for each method and seed the last power with a path, and the next that was tried."""
    paths: dict[tuple[str, int], dict[float, int]] = {}
    for entry in document["runs"]:
        cell = entry["cell"]
        tried = paths.setdefault((cell["method"], cell["seed"]), {})
        tried[cell["half powers of ten"]] = entry["result"]["on a path"]
    return {run: _end(on_a_path) for run, on_a_path in paths.items()}


def _end(on_a_path: Mapping[float, int]) -> tuple[float, float]:
    cut = min((power for power, count in on_a_path.items() if not count), default=math.inf)
    return max((power for power in on_a_path if power < cut), default=0), cut


def largest_connected(document: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return for each method and seed the largest compression up to which a path is left."""
    found: dict[str, list[float]] = {}
    for (method, _), (last, _) in ends(document).items():
        found.setdefault(method, []).append(10 ** (last / 2))
    return found


def between(document: Mapping[str, Any]) -> list[Cell]:
    """Return four cells between each end and what was tried next, for what prunes at once."""
    return [
        {"method": method, "half powers of ten": round(last + fifth / 5, 1), "seed": seed}
        for (method, seed), (last, cut) in ends(document).items()
        if method in AT_ONCE and cut == last + 1
        for fifth in range(1, 5)
    ]


def table(document: Mapping[str, Any]) -> str:
    """Return a row a method: up to which compression a path is left, of each seed."""
    lines = ["| method | connected up to a compression of, each seed |", "|---|---|"]
    for method, found in largest_connected(document).items():
        lines.append(f"| {method} | {', '.join(f'{value:,.0f}' for value in found)} |")
    return "\n".join(lines)


def draw(axes: Any, document: Mapping[str, Any]) -> None:
    """Draw the share of the kept weights that lie on a path, the mean of all seeds."""
    kept, paths = summary(document, "kept"), summary(document, "on a path")
    for method in METHODS:
        points = sorted(
            (10 ** (power / 2), sum(paths[name, power]) / max(1, sum(kept[name, power])))
            for name, power in kept
            if name == method
        )
        axes.plot(*zip(*points, strict=True), "o-", label=method)
    axes.set(xscale="log", xlabel="weights / kept weights", ylabel="share of kept ones on a path")
    axes.legend()


def main() -> None:
    """Run what is missing, then write table and plot."""
    title = "Where a VGG-16 comes apart"
    options = arguments(title, seeds=3)
    images: Any = from_digits() if options.quick else from_cifar(data_folder() / _CIFAR)
    widths = QUICK_WIDTHS if options.quick else WIDTHS
    about = {"title": title, "images": str(images), "widths": widths}
    cells = [
        {"method": method, "half powers of ten": power, "seed": seed}
        for seed in range(options.seeds)
        for method in METHODS
        for power in HALF_POWERS[:: 4 if options.quick else 1]
    ]
    one = partial(run, images=images, widths=widths)
    document = collect(options.output, about, cells, one, then=between)
    finish(options.output, document, table(document), partial(draw, document=document))


if __name__ == "__main__":
    main()
