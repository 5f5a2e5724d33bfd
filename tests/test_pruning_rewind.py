"""Rewinding: a ticket trains as the same masked network does from the snapshot, bit for bit."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest

from sparsecore import pruning
from sparsecore.pruning import Iterative, OneShot, Rewind

torch = pytest.importorskip("torch")
nn = torch.nn

from pruner_cases import OPTIMIZERS, small_net, train  # noqa: E402

EVERY, ROUNDS = 6, 2


def build(kind: str, schedule: Any, rewind: Any, seed: int = 0) -> tuple[Any, Any, Any, Any]:
    model = small_net(seed)
    optimizer = OPTIMIZERS[kind](model.parameters())
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.8**step)
    pruner = pruning.Pruner(
        model,
        sparsity=0.8,
        optimizer=optimizer,
        schedule=schedule,
        rewind=rewind,
        scheduler=scheduler,
    )
    return model, optimizer, scheduler, pruner


def loop(model: Any, optimizer: Any, scheduler: Any, start: int, end: int) -> None:
    for step in range(start, end):
        train(model, optimizer, 1, start=step)
        scheduler.step()


def assert_same(one: Any, two: Any) -> None:
    for name, value in one[0].state_dict().items():
        assert torch.equal(value, two[0].state_dict()[name]), name
    states = [part[1].state_dict() for part in (one, two)]
    assert states[0]["param_groups"] == states[1]["param_groups"]
    assert one[2].state_dict() == two[2].state_dict()
    for key, state in states[0]["state"].items():
        for name, value in state.items():
            other = states[1]["state"][key][name]
            assert torch.equal(value, other) if torch.is_tensor(value) else value == other


def reference(kind: str, step: int, masks: Any, end: int) -> tuple[Any, Any, Any]:
    """Train densely up to `step`, and with masks from there on."""
    model = small_net()
    optimizer = OPTIMIZERS[kind](model.parameters())
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.8**step)
    loop(model, optimizer, scheduler, 0, step)
    pruning.Pruner(
        model,
        optimizer=optimizer,
        schedule=OneShot(),
        allocation={name: int(mask.sum()) for name, mask in masks.items()},
        score=lambda _: {name: mask.float() for name, mask in masks.items()},
    )
    loop(model, optimizer, scheduler, step, end)
    return model, optimizer, scheduler


@pytest.mark.parametrize("kind", ["SGD", "Adam fused"])
@pytest.mark.parametrize("step", [0, 2])
@pytest.mark.parametrize("by_steps", [True, False])
def test_a_ticket_is_the_masked_network_trained_from_the_snapshot(
    kind: str, step: int, by_steps: bool
) -> None:
    schedule = Iterative(ROUNDS, every=EVERY if by_steps else None)
    parts = build(kind, schedule, Rewind(step))
    *training, pruner = parts
    kept = []
    if by_steps:
        loop(*training, 0, EVERY)
        for _ in range(ROUNDS):
            kept.append(sum(pruner.kept().values()))
            loop(*training, step, EVERY)
    else:
        for k in pruner.rounds():
            kept.append(sum(pruner.kept().values()))
            loop(*training, step if k else 0, EVERY)
    size, rho = 507, 0.2
    assert kept[-2:] == [size - round((1 - rho ** (1 / 2)) * size), size - round(0.8 * size)]
    assert pruner.step == EVERY + ROUNDS * (EVERY - step)
    assert_same(training, reference(kind, step, pruner.masks, EVERY))


@pytest.mark.parametrize("step", [0, 2])
@pytest.mark.parametrize("stop", [0, 2, 6, 9])
def test_a_resumed_run_is_bit_equal(step: int, stop: int) -> None:
    def run(parts: Any, start: int, end: int) -> None:
        # The data follow the step within the run, as an epoch's would.
        for t in range(start, end):
            of_run = t if t < EVERY else step + (t - EVERY) % (EVERY - step)
            loop(*parts[:3], of_run, of_run + 1)

    schedule, total = Iterative(ROUNDS, every=EVERY), EVERY + ROUNDS * (EVERY - step)
    straight = build("Adam", schedule, Rewind(step))
    run(straight, 0, total)
    first = build("Adam", schedule, Rewind(step))
    run(first, 0, stop)
    file = io.BytesIO()
    torch.save([part.state_dict() for part in first], file)
    run(first, stop, min(total, stop + 1))  # what was saved must not follow what goes on
    file.seek(0)
    resumed = build("Adam", schedule, Rewind(step), seed=1)
    for part, state in zip(resumed, torch.load(file, weights_only=True), strict=True):
        part.load_state_dict(state)
    run(resumed, stop, total)
    assert_same(straight, resumed)
    assert resumed[3].step == total
    for name, mask in straight[3].masks.items():
        assert torch.equal(mask, resumed[3].masks[name])


def test_rounds_go_on_after_loading() -> None:
    first = build("SGD", Iterative(3), Rewind(0))
    for k in first[3].rounds():
        loop(*first[:3], 0, 2)
        if k == 1:
            break
    states = [copy.deepcopy(part.state_dict()) for part in first]
    resumed = build("SGD", Iterative(3), Rewind(0), seed=1)
    for part, state in zip(resumed, states, strict=True):
        part.load_state_dict(state)
    assert list(resumed[3].rounds()) == [1, 2, 3]


def test_buffers_and_unpruned_parameters_go_back_too() -> None:
    model, optimizer, scheduler, pruner = build("SGD", Iterative(1), Rewind(0))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rounds = pruner.rounds()
    assert next(rounds) == 0
    loop(model, optimizer, scheduler, 0, 3)
    assert not torch.equal(model[1].running_mean, before["1.running_mean"])
    assert next(rounds) == 1
    for name, value in model.state_dict().items():
        mask = pruner.masks.get(name, torch.tensor(True))
        assert torch.equal(value, torch.where(mask, before[name], 0)), name
    assert optimizer.state_dict()["state"] == {}
    assert optimizer.param_groups[0]["lr"] == scheduler.get_last_lr()[0] == 0.05
    assert not (model[4].weight == 0).all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"rewind": Rewind(0)}, ValueError, r"Rewind\(step=0\) goes back after each round, OneSh"),
        ({"rewind": 0, "schedule": Iterative(2)}, TypeError, "rewind is 0, a int, expected Rewind"),
        ({"rewind": Rewind(5), "schedule": Iterative(2, every=5)}, ValueError, "not before the en"),
        ({"scheduler": object()}, ValueError, "scheduler is given without rewind="),
        (
            {"rewind": Rewind(0), "schedule": Iterative(2), "scheduler": object()},
            TypeError,
            "scheduler is a object, expected one of torch.optim's",
        ),
    ],
)
def test_what_has_no_meaning_is_refused(options: Any, error: Any, message: str) -> None:
    model = small_net()
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    with pytest.raises(error, match=message):
        pruning.Pruner(model, sparsity=0.5, optimizer=optimizer, **options)
    assert not optimizer._optimizer_step_post_hooks
    assert not optimizer._optimizer_step_pre_hooks


def test_a_scheduler_of_another_optimizer_and_a_step_that_was_not_reached() -> None:
    model, optimizer, scheduler, pruner = build("SGD", Iterative(2), Rewind(4))
    other = OPTIMIZERS["SGD"](model.parameters())
    with pytest.raises(ValueError, match="scheduler belongs to another optimizer"):
        pruning.Pruner(
            model,
            sparsity=0.5,
            optimizer=other,
            schedule=Iterative(2),
            rewind=Rewind(0),
            scheduler=scheduler,
        )
    rounds = pruner.rounds()
    next(rounds)
    loop(model, optimizer, scheduler, 0, 3)
    with pytest.raises(ValueError, match="trained 3 steps, expected at least 4"):
        next(rounds)
    assert pruner.sparsity() == 0
    state = pruner.state_dict() | {"rewind": None}
    with pytest.raises(ValueError, match="the state is of a pruner with no rewind="):
        pruner.load_state_dict(state)
