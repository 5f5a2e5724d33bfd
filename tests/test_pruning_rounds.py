"""Rounds of pruning: by prune without training, and by Pruner with training between them."""

from __future__ import annotations

from typing import Any

import pytest

from sparsecore import pruning
from sparsecore.pruning import Block, Cubic, Filter, Iterative, Unstructured, allocation, scores

torch = pytest.importorskip("torch")
nn = torch.nn

from pruner_cases import OPTIMIZERS, small_net, train  # noqa: E402


def net_of(rows: list[list[float]]) -> Any:
    layer = nn.Linear(len(rows[0]), len(rows), bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(rows))
    return layer


def test_each_round_scores_what_the_last_one_has_left() -> None:
    seen = []

    def score(weights: Any) -> Any:
        seen.append({name: weight.detach().clone() for name, weight in weights.items()})
        return scores.magnitude(weights)

    model = small_net()
    dense = {name: model.get_parameter(name).detach().clone() for name in ("0.weight", "4.weight")}
    masks = pruning.prune(model, 15 / 16, score=score, schedule=Iterative(4))
    left = [sum(int((w != 0).sum()) for w in weights.values()) for weights in seen]
    assert left == [507, 507 - round(507 / 2), 507 - round(507 * 0.75), 507 - round(507 * 0.875)]
    assert sum(int(mask.sum()) for mask in masks.values()) == 507 - round(507 * 15 / 16)
    for name, mask in masks.items():
        assert torch.equal(model.get_parameter(name).detach(), dense[name] * mask)


def test_rounds_differ_from_one_shot_where_a_score_depends_on_what_is_left() -> None:
    # A weight is worth its row's sum: once 5 has lost its neighbours, 4 + 3 is worth more.
    def score(weights: Any) -> Any:
        return {n: w.abs().sum(1, keepdim=True) * w.abs() for n, w in weights.items()}

    rows = [[5.0, 1.0, 1.0], [4.0, 3.0, 0.5]]
    at_once = pruning.prune(net_of(rows), 2 / 3, score=score)["weight"]
    in_rounds = pruning.prune(net_of(rows), 2 / 3, score=score, schedule=Iterative(2, "linear"))
    assert at_once.tolist() == [[True, False, False], [True, False, False]]
    # Left after round 1: 5, 1, 4, 3 of scores 35, 7, 30, 22.5; then 30, 6, 28, 21.
    assert in_rounds["weight"].tolist() == [[True, False, False], [True, False, False]]
    three = pruning.prune(net_of([[5.0, 0.1], [4.0, 3.0]]), 0.75, score=score)["weight"]
    assert three.tolist() == [[False, False], [True, False]]
    rounds = Iterative(3, "linear")
    three = pruning.prune(net_of([[5.0, 0.1], [4.0, 3.0]]), 0.75, score=score, schedule=rounds)
    # 0.1 goes, then 3 (21 against 25 and 28), and without it 4 is worth 16.
    assert three["weight"].tolist() == [[True, False], [False, False]]


def test_nothing_changes_where_a_later_round_fails() -> None:
    calls = []

    def score(weights: Any) -> Any:
        calls.append(1)
        return {n: w * (float("nan") if len(calls) == 3 else 1) for n, w in weights.items()}

    model = small_net()
    before = model[4].weight.detach().clone()
    with pytest.raises(ValueError, match="NaN has no rank"):
        pruning.prune(model, 0.9, score=score, schedule=Iterative(3))
    assert torch.equal(model[4].weight, before)


@pytest.mark.parametrize("schedule", [Cubic(0, 4, 1), Iterative(2, every=3)])
def test_prune_refuses_schedules_of_steps(schedule: Any) -> None:
    with pytest.raises(ValueError, match="counts steps of training, of which there are none"):
        pruning.prune(small_net(), 0.5, schedule=schedule)


def pruner_of(model: Any, **options: Any) -> tuple[Any, Any]:
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    return optimizer, pruning.Pruner(model, optimizer=optimizer, **options)


def test_rounds_by_steps_without_going_back() -> None:
    model = small_net()
    optimizer, pruner = pruner_of(model, sparsity=0.75, schedule=Iterative(2, every=3))
    kept = []
    for step in range(9):
        train(model, optimizer, 1, start=step)
        kept.append(sum(pruner.kept().values()))
    half, quarter = 507 - round(507 / 2), 507 - round(507 * 0.75)
    assert kept == [507, 507, half, half, half, *[quarter] * 4]
    pruner.remove()


def test_explicit_rounds_train_before_and_after_each_pruning() -> None:
    model = small_net()
    optimizer, pruner = pruner_of(model, sparsity=0.75, schedule=Iterative(2, "linear"))
    found = []
    for k in pruner.rounds():
        train(model, optimizer, 2)
        found.append((k, sum(pruner.kept().values())))
    assert found == [(0, 507), (1, 507 - round(507 * 0.375)), (2, 507 - round(507 * 0.75))]
    assert list(pruner.rounds()) == [2]


def test_unfinished_rounds_are_told() -> None:
    _, pruner = pruner_of(small_net(), sparsity=0.75, schedule=Iterative(2))
    with pytest.warns(UserWarning, match="removed after 0 steps at sparsity 0, before"):
        pruner.remove()
    _, pruner = pruner_of(small_net(), sparsity=0.75, schedule=Cubic(0, 4, 1))
    with pytest.raises(ValueError, match=r"Cubic\(.* has its own steps, expected Iterative"):
        pruner.rounds()


@pytest.mark.parametrize("pattern", [Filter(), Block(2, 5), Unstructured(axis=0)])
def test_patterns_through_training(pattern: Any) -> None:
    model = small_net()
    optimizer, pruner = pruner_of(
        model,
        sparsity=0.5,
        schedule=Cubic(0, 4, 1),
        pattern=pattern,
        where=lambda name, _: name == "4.weight",
    )
    for step in range(5):
        before = pruner.masks["4.weight"].clone()
        train(model, optimizer, 1, start=step)
        mask = pruner.masks["4.weight"]
        assert not bool((mask & ~before).any())
        assert torch.equal(model[4].weight != 0, mask)
        assert pattern.nearest_counts((10, 48), int(mask.sum()))[0] == int(mask.sum())
    # 45 blocks of 10 entries and 5 of 6 at the edge, where those that are left make up 240.
    assert abs(pruner.kept()["4.weight"] - 240) <= (3 if pattern == Block(2, 5) else 0)


def test_a_global_threshold_compares_groups_by_their_mean() -> None:
    model = nn.Sequential(net_of([[1.0, 1.0], [9.0, 9.0]]), net_of([[5.0, 5.0], [0.0, 8.0]]))
    masks = pruning.prune(model, 0.5, allocation=allocation.global_, pattern=Filter())
    # Rows have means 1 and 9, 5 and 4; of single weights 8 would be among the best four.
    assert masks["0.weight"][:, 0].tolist() == [False, True]
    assert masks["1.weight"][:, 0].tolist() == [True, False]
