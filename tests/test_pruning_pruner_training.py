"""Pruner: masks in force through training, under every optimizer and schedule."""

from __future__ import annotations

import functools
import math
from typing import Any

import pytest

from sparsecore import pruning
from sparsecore.pruning import NM, Cubic, allocation, scores

torch = pytest.importorskip("torch")
nn = torch.nn

from pruner_cases import OPTIMIZERS, RAMP, pruned_weights_and_states, small_net, train  # noqa: E402


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize(
    "allocate", [allocation.uniform, allocation.global_, allocation.erdos_renyi]
)
def test_cubic_keeps_exact_counts_and_zeros_all_the_way(kind: str, allocate: Any) -> None:
    model = small_net()
    optimizer = OPTIMIZERS[kind](model.parameters())
    pruner = pruning.Pruner(
        model, allocation=allocate, schedule=RAMP, sparsity=0.9, optimizer=optimizer
    )
    size = 27 + 480
    for step in range(1, 16):
        train(model, optimizer, 1, start=step)
        assert pruner.step == step
        pruned = round(RAMP.sparsity_at(step, 0.9) * size)
        assert sum(pruner.kept().values()) == size - pruned
        assert pruner.sparsity() == pruned / size
        for weight, states, gone in pruned_weights_and_states(model, optimizer, pruner):
            assert len(states) >= 1
            assert all(bool((value[gone] == 0).all()) for value in [weight, *states])
            assert bool((weight[~gone] != 0).all())
    assert pruner.sparsity() == pytest.approx(0.9, abs=0.5 / size)


def test_masks_only_shrink_and_follow_the_magnitudes_of_their_time() -> None:
    model = nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[4.0, 3.0, 2.0, 1.0]]))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    # 0 at step 1, 0.75 * 7/8 (3 of 4: round(2.625)) at step 2, 0.75 at step 3.
    pruner = pruning.Pruner(model, schedule=Cubic(1, 3, 1), sparsity=0.75, optimizer=optimizer)
    model.weight.grad = torch.tensor([[3.5, 0.0, 0.0, -5.0]])
    optimizer.step()
    assert pruner.masks["weight"].tolist() == [[True] * 4]
    model.weight.grad.zero_()
    optimizer.step()
    # The weights are now 0.5 3 2 6: what was largest at first is not what stays.
    assert pruner.masks["weight"].tolist() == [[False, False, False, True]]
    model.weight.grad = torch.tensor([[-100.0, 0.0, 0.0, 5.9]])
    optimizer.step()
    # Step 3 updates the masks again; a pruned weight cannot return by its gradient.
    assert pruner.masks["weight"].tolist() == [[False, False, False, True]]
    torch.testing.assert_close(model.weight.detach(), torch.tensor([[0.0, 0.0, 0.0, 0.1]]))


def test_pruned_weights_stay_pruned_under_a_random_score() -> None:
    model = small_net()
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    score = functools.partial(scores.random, generator=torch.Generator().manual_seed(5))
    pruner = pruning.Pruner(model, score=score, schedule=RAMP, sparsity=0.8, optimizer=optimizer)
    before = {name: mask.clone() for name, mask in pruner.masks.items()}
    for step in range(12):
        train(model, optimizer, 1, start=step)
        for name, mask in pruner.masks.items():
            assert not bool((mask & ~before[name]).any())
            before[name] = mask.clone()


def test_masked_training_equals_training_the_surviving_weights_alone() -> None:
    # y = w . x with two of four weights pruned is the two-input model on the kept inputs.
    x, y = torch.randn(16, 4, generator=torch.Generator().manual_seed(1)), torch.ones(16, 1)
    whole, part = nn.Linear(4, 1, bias=False).double(), nn.Linear(2, 1, bias=False).double()
    with torch.no_grad():
        whole.weight.copy_(torch.tensor([[0.1, 2.0, -0.2, -3.0]]))
        part.weight.copy_(torch.tensor([[2.0, -3.0]]))
    optimizers = [OPTIMIZERS["Adam"](m.parameters()) for m in (whole, part)]
    pruning.Pruner(whole, sparsity=0.5, optimizer=optimizers[0])
    for _ in range(20):
        for model, inputs, optimizer in zip(
            (whole, part), (x, x[:, [1, 3]]), optimizers, strict=True
        ):
            optimizer.zero_grad()
            (model(inputs.double()) - y).square().mean().backward()
            optimizer.step()
    # In each of 20 steps: sums of 16 * 4 products in another order, and Adam's ten operations.
    tolerance = 20 * (16 * 4 + 10) * 2.0**-53
    torch.testing.assert_close(whole.weight[:, [1, 3]], part.weight, rtol=tolerance, atol=tolerance)


def test_one_shot_prunes_at_construction_and_holds() -> None:
    model = small_net()
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    pruner = pruning.Pruner(model, sparsity=0.75, optimizer=optimizer)
    masks = {name: mask.clone() for name, mask in pruner.masks.items()}
    assert {n: int(torch.count_nonzero(model.get_parameter(n))) for n in masks} == pruner.kept()
    train(model, optimizer, 3)
    assert all(torch.equal(mask, masks[name]) for name, mask in pruner.masks.items())
    assert {n: int(torch.count_nonzero(model.get_parameter(n))) for n in masks} == pruner.kept()


def test_nm_through_training() -> None:
    model = nn.Sequential(nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 6))
    optimizer = OPTIMIZERS["Adam"](model.parameters())
    pruner = pruning.Pruner(model, pattern=NM(2, 4), sparsity=0.5, optimizer=optimizer)
    for step in range(3):
        optimizer.zero_grad()
        x = torch.randn(4, 10, generator=torch.Generator().manual_seed(step))
        model(x).square().sum().backward()
        optimizer.step()
    # Rows of 10 are two groups of four and a tail of two, which keeps both.
    assert pruner.kept() == {"0.weight": 8 * 6, "2.weight": 6 * 4}
    groups = (model[2].weight.reshape(-1, 4) != 0).sum(1)
    assert groups.tolist() == [2] * 12


def test_several_parameter_groups() -> None:
    model = small_net()
    optimizer = torch.optim.SGD(
        [
            {"params": model[0].parameters(), "lr": 0.1},
            {"params": [*model[1].parameters(), *model[4].parameters()], "lr": 0.01},
        ],
        momentum=0.9,
    )
    pruner = pruning.Pruner(model, sparsity=0.8, optimizer=optimizer)
    train(model, optimizer, 3)
    for weight, states, gone in pruned_weights_and_states(model, optimizer, pruner):
        assert all(bool((value[gone] == 0).all()) for value in [weight, *states])


@pytest.mark.parametrize("fused", [False, True])
def test_steps_that_grad_scaler_skips_are_not_counted(fused: bool) -> None:
    model = small_net()
    optimizer = torch.optim.Adam(model.parameters(), fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    pruner = pruning.Pruner(model, schedule=Cubic(0, 4, 1), sparsity=0.5, optimizer=optimizer)
    for overflow in (False, True, True, False):
        optimizer.zero_grad()
        loss = model(torch.ones(2, 1, 6, 6)).square().sum()
        scaler.scale(loss * (math.inf if overflow else 1)).backward()
        scaler.step(optimizer)
        scaler.update()
    assert pruner.step == 2
    assert pruner.sparsity() == pytest.approx(0.5 * (1 - 0.5**3), abs=0.5 / 507)
    assert all(bool(p.isfinite().all()) for p in model.parameters())
