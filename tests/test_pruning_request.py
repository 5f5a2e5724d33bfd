"""Scores that need data, explicit allocations, and requests that are refused for them."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from sparsecore import pruning
from sparsecore.pruning import NM, Channel, Filter, Iterative, scores

torch = pytest.importorskip("torch")
nn = torch.nn

from pruner_cases import OPTIMIZERS, small_net, train  # noqa: E402

BATCHES = [(torch.randn(4, 1, 6, 6, generator=torch.Generator().manual_seed(0)), torch.arange(4))]


def gradient(weights: Any, *, model: Any, batches: Any, loss: Any = nn.functional.cross_entropy):
    """Score by |w * dL/dw|, of weights that may be masked."""
    leaves = {name: weight.detach().clone().requires_grad_() for name, weight in weights.items()}
    total = sum(
        loss(torch.func.functional_call(model, leaves, (inputs,)), targets)
        for inputs, targets in batches
    )
    grads = torch.autograd.grad(total, list(leaves.values()))
    return {n: (w * g).abs().detach() for (n, w), g in zip(leaves.items(), grads, strict=True)}


def test_prune_hands_model_and_batches_to_the_score() -> None:
    model = small_net().eval()
    weights = {name: model.get_parameter(name) for name in ("0.weight", "4.weight")}
    found = gradient(weights, model=model, batches=BATCHES)
    masks = pruning.prune(model, 0.5, score=gradient, batches=BATCHES)
    counts = pruning.allocation.uniform(found, 0.5)
    for name, score in found.items():
        assert torch.equal(masks[name], pruning.prune_mask(score, counts[name])), name


def test_the_loss_is_handed_on_only_where_it_is_given() -> None:
    seen = []

    def score(weights: Any, **keywords: Any) -> Any:
        seen.append(set(keywords))
        return scores.magnitude(weights)

    pruning.prune(small_net(), 0.5, score=score)
    pruning.prune(small_net(), 0.5, score=score, batches=BATCHES)
    pruning.prune(small_net(), 0.5, score=score, batches=BATCHES, loss=nn.functional.mse_loss)
    assert seen == [set(), {"model", "batches"}, {"model", "batches", "loss"}]


def test_pruner_scores_with_batches_in_training() -> None:
    model = small_net()
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    schedule = Iterative(2, every=2)
    pruner = pruning.Pruner(
        model,
        sparsity=0.5,
        optimizer=optimizer,
        score=gradient,
        batches=BATCHES,
        schedule=schedule,
    )
    train(model, optimizer, 4)
    assert sum(pruner.kept().values()) == 507 - round(0.5 * 507)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score": gradient}, "gradient needs batches=$"),
        (
            {"score": lambda weights, model, batches: (weights, model, batches)},
            "<lambda> needs batches=$",
        ),
        ({"score": functools.partial(gradient, loss=None)}, "gradient needs batches=$"),
        ({"score": scores.random}, "random needs generator=; bind it with functools.partial"),
        ({"batches": BATCHES}, "magnitude takes no model= and no batches="),
        ({"loss": nn.functional.mse_loss}, "loss is given without batches="),
        (
            {"score": gradient, "batches": iter(BATCHES), "schedule": Iterative(2)},
            "batches is a list_iterator, an iterator, which the first round uses up",
        ),
    ],
)
def test_scores_without_what_they_need_are_refused(options: Any, message: str) -> None:
    model = small_net()
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    with pytest.raises(ValueError, match=f"prune: {message}"):
        pruning.prune(model, 0.5, **options)
    with pytest.raises(ValueError, match=f"Pruner: {message}"):
        pruning.Pruner(model, sparsity=0.5, optimizer=optimizer, **options)
    assert not bool((model[4].weight == 0).any())


def test_explicit_allocations() -> None:
    masks = pruning.prune(small_net(), allocation={"0.weight": 1.0, "4.weight": 33})
    assert {name: int(mask.sum()) for name, mask in masks.items()} == {
        "0.weight": 27,
        "4.weight": 33,
    }
    model = small_net()
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    pruner = pruning.Pruner(
        model,
        optimizer=optimizer,
        allocation={"0.weight": 1.0, "4.weight": 0.1},
        schedule=pruning.Cubic(0, 4, 2),
    )
    train(model, optimizer, 2)
    # 7/8 of the way: 378 of 432 pruned weights, all in the second layer.
    assert pruner.kept() == {"0.weight": 27, "4.weight": 480 - 378}
    train(model, optimizer, 2)
    assert pruner.kept() == {"0.weight": 27, "4.weight": 48}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "sparsity is None, expected a fraction"),
        ({"allocation": {"0.weight": 1}}, r"missing \['4\.weight'\], unknown \[\]"),
        (
            {"allocation": {"0.weight": 27, "4.weight": 48}, "sparsity": 0.5},
            r"sparsity is 0\.5, but the counts of allocation have 0\.85207",
        ),
        (
            {
                "allocation": {"4.weight": 0.5},
                "pattern": NM(2, 4),
                "where": lambda n, _: n[0] == "4",
            },
            "allocation must be uniform",
        ),
        ({"sparsity": 0.5, "pattern": Filter(), "allocation": lambda *_: {}}, "allocation gave"),
        (
            {"sparsity": 0.5, "pattern": pruning.Block(4, 4)},
            r"0\.weight has shape \(3, 1, 3, 3\), smaller than one block; leave it out",
        ),
        (
            {"sparsity": 0.5, "pattern": pruning.Unstructured(axis=2)},
            r"4\.weight has shape \(10, 48\), without an axis 2",
        ),
    ],
)
def test_requests_without_meaning(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pruning.prune(small_net(), **options)


def test_the_sparsity_of_explicit_counts_may_be_given() -> None:
    masks = pruning.prune(small_net(), 0.8521, allocation={"0.weight": 27, "4.weight": 48})
    assert int(masks["4.weight"].sum()) == 48


def test_channels_of_convolutions() -> None:
    model = nn.Sequential(nn.Conv2d(4, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 1))
    masks = pruning.prune(model, 0.5, pattern=Channel())
    assert masks["0.weight"].any((0, 2, 3)).sum() == 2
    # Of 3 channels of 2 entries half would be 3 entries: the larger of 2 and 4.
    assert int(masks["2.weight"].sum()) == 4
