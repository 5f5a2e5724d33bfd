"""Lottery tickets: LeNet-300-100 on MNIST, pruned round by round (Frankle and Carbin 2019).

The configuration is the paper's: Glorot's initial weights, Adam at 1.2e-3, batches of 60, 50,000
steps, 5,000 pictures held back; each round prunes the fifth of every layer's weights that is
smallest after training, of the last layer's the tenth, and what is left goes back to its initial
values. The control has the ticket's masks and other initial weights. Early stopping is where the
loss on the pictures held back was least.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
from mnist import Images, load
from nets import glorot_, lenet_300_100
from runs import Cell, arguments, collect, finish, spread
from torch import Tensor, nn
from torch.nn import functional as F
from training import Recipe, error, steps, stored_sparse

from sparsecore.pruning import Iterative, Pruner, Rewind

RECIPE = Recipe(steps=50_000, batch=60, learning_rate=1.2e-3, momentum=None)
QUICK = replace(RECIPE, steps=20)
HELD_BACK = 5_000 / 60_000
KEPT_IN_A_ROUND = {"0.weight": 0.8, "2.weight": 0.8, "4.weight": 0.9}
ROUNDS = 15
# The rounds whose tickets are trained with other initial weights, too: 21 % and 3.6 % are left.
CONTROLLED = (7, 15)
_OTHER_SEED = 1_000
_LOOKS = 100


@dataclass(frozen=True, slots=True)
class Progress:
    """How a training went: errors in percent, at its end and where the held back loss was least."""

    error: float
    stopped_early_error: float
    stopped_early_step: int


def run(cell: Cell, *, images: Images, recipe: Recipe, rounds: int) -> dict[str, Any]:
    """Find the tickets of one network; return how each of them learns, and how the controls do."""
    seed, pixels = cell["seed"], images.x_train.shape[1]
    model = glorot_(lenet_300_100(pixels, seed=seed), seed=seed)
    found: dict[str, Any] = {"tickets": [], "re-initialised": []}
    with Pruner(
        model,
        sparsity=1 - _density(model, rounds),
        optimizer=(optimizer := recipe.optimizer(model)),
        allocation=kept_after_rounds,
        schedule=Iterative(rounds),
        rewind=Rewind(0),
    ) as pruner:
        for number in pruner.rounds():
            at = {"round": number, "density": 1 - pruner.sparsity()}
            ticket = learn(model, optimizer, images, recipe, seed=seed)
            found["tickets"].append(at | asdict(ticket))
            if number in CONTROLLED:
                other = glorot_(lenet_300_100(pixels, seed=seed), seed=seed + _OTHER_SEED)
                control = control_of(other, pruner.masks, images, recipe, seed=seed)
                found["re-initialised"].append(at | asdict(control))
    return found


def control_of(
    model: nn.Sequential,
    masks: Mapping[str, Tensor],
    images: Images,
    recipe: Recipe,
    *,
    seed: int,
) -> Progress:
    """Train a network under the masks of a ticket."""
    with torch.no_grad():
        for name, mask in masks.items():
            model.get_parameter(name).mul_(mask)
    sparse = stored_sparse(model, masks)
    return learn(sparse, recipe.optimizer(sparse), images, recipe, seed=seed)


def learn(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Images,
    recipe: Recipe,
    *,
    seed: int,
) -> Progress:
    """Train in place, looking at the pictures held back a hundred times."""
    least, early = float("inf"), (0, error(model, images))
    every = max(1, recipe.steps // _LOOKS)
    for step in steps(model, optimizer, images, recipe, seed=seed):
        if step % every == 0:
            with torch.no_grad():
                loss = float(F.cross_entropy(model(images.x_held_back), images.y_held_back))
            if loss < least:
                least, early = loss, (step, error(model, images))
    return Progress(error(model, images), early[1], early[0])


def kept_after_rounds(scores: Mapping[str, Tensor], sparsity: float) -> dict[str, int]:
    """Return what each layer keeps: its share of every round, to the power that fits the total."""
    sizes = {name: score.numel() for name, score in scores.items()}
    wanted = (1 - sparsity) * sum(sizes.values())
    low, high = 0.0, 1_000.0
    for _ in range(100):
        middle = (low + high) / 2
        more = sum(size * KEPT_IN_A_ROUND[name] ** middle for name, size in sizes.items()) > wanted
        low, high = (middle, high) if more else (low, middle)
    return {name: round(size * KEPT_IN_A_ROUND[name] ** low) for name, size in sizes.items()}


def _density(model: nn.Module, rounds: int) -> float:
    sizes = {name: model.get_parameter(name).numel() for name in KEPT_IN_A_ROUND}
    kept = sum(round(size * KEPT_IN_A_ROUND[name] ** rounds) for name, size in sizes.items())
    return kept / sum(sizes.values())


def table(document: Mapping[str, Any]) -> str:
    """Return means and deviations over the seeds, a row a round."""
    lines = [
        "| left, % | test error, % | stopped early, % | at step | re-initialised: error, % |"
        " stopped early, % | at step |",
        "|---|---|---|---|---|---|---|",
    ]
    tickets, controls = _by_round(document, "tickets"), _by_round(document, "re-initialised")
    for number, runs in tickets.items():
        others = _figures(controls[number]) if number in controls else ["", "", ""]
        left = f"{100 * runs[0]['density']:.1f}"
        lines.append(f"| {' | '.join([left, *_figures(runs), *others])} |")
    return "\n".join(lines)


def _by_round(document: Mapping[str, Any], kind: str) -> dict[int, list[Mapping[str, Any]]]:
    groups: dict[int, list[Mapping[str, Any]]] = {}
    for entry in document["runs"]:
        for found in entry["result"][kind]:
            groups.setdefault(found["round"], []).append(found)
    return groups


def _figures(runs: list[Mapping[str, Any]]) -> list[str]:
    names = ("error", "stopped_early_error", "stopped_early_step")
    return [spread([found[name] for found in runs]) for name in names]


def draw(axes: Any, document: Mapping[str, Any]) -> None:
    """Draw the errors of tickets and controls by what is left."""
    for kind, style in (("tickets", "o-"), ("re-initialised", "s--")):
        groups = _by_round(document, kind).values()
        left = [100 * runs[0]["density"] for runs in groups]
        means = [sum(found["error"] for found in runs) / len(runs) for runs in groups]
        axes.plot(left, means, style, label=kind)
    axes.set(xscale="log", xlabel="weights left, %", ylabel="test error, %")
    axes.invert_xaxis()
    axes.legend()


def main() -> None:
    """Run what is missing, then write table and plot."""
    title = "Lottery tickets of LeNet-300-100"
    options = arguments(title)
    images = load(quick=options.quick, held_back=HELD_BACK)
    recipe: Recipe = QUICK if options.quick else RECIPE
    about = {"title": title, "images": images.source, "recipe": asdict(recipe), "rounds": ROUNDS}
    cells = [{"seed": seed} for seed in range(options.seeds)]
    one: Callable[[Cell], Any] = partial(run, images=images, recipe=recipe, rounds=ROUNDS)
    document = collect(options.output, about, cells, one)
    finish(options.output, document, table(document), partial(draw, document=document))


if __name__ == "__main__":
    main()
