"""SET and RigL: exact counts, the update of a dense oracle, and what it replaces."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")
nn = torch.nn

import sparsecore as sc  # noqa: E402
from sparsecore.pruning import SET, RigL  # noqa: E402
from training_cases import (  # noqa: E402
    OPTIMIZERS,
    batch,
    dense_net,
    everything,
    sparse_layers,
    sparse_of,
    train,
)


@pytest.mark.parametrize("method", [SET, RigL])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_counts_stay_exact_and_the_loss_falls(method: Any, kind: str) -> None:
    model = sparse_of(dense_net(torch.float32))
    optimizer = OPTIMIZERS[kind](model.parameters())
    dst = method(model, optimizer, total_steps=60, every=4)
    counts, structure = dst.nnz(), [layer.indices for layer in sparse_layers(model).values()]
    losses = train(model, optimizer, 60)
    assert dst.nnz() == counts
    assert dst.step == 60
    assert all(layer.matrix().nnz == counts[n] for n, layer in sparse_layers(model).items())
    layers = sparse_layers(model).values()
    moved = [not torch.equal(a.indices, b) for a, b in zip(layers, structure, strict=True)]
    assert all(moved)
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


def dense_update(
    weights: torch.Tensor, gradient: torch.Tensor, fraction: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """RigL's update of one dense masked weight: the new mask and the new weights."""
    mask = (weights != 0).flatten()
    count = math.floor(fraction * int(mask.sum()))
    order = torch.where(mask, weights.flatten().abs(), math.inf).argsort(stable=True)
    stays = mask.clone()
    stays[order[:count]] = False
    ranked = torch.where(stays, -1, gradient.flatten().abs())
    new = stays.clone()
    new[ranked.argsort(descending=True)[:count]] = True
    return new.view_as(weights), torch.where(new & mask, weights.flatten(), 0).view_as(weights)


@pytest.mark.parametrize("alpha", [0.3, 1.0])
@pytest.mark.parametrize("micro_batches", [1, 3])
def test_rigl_update_is_that_of_dense_weights(alpha: float, micro_batches: int) -> None:
    dense = dense_net()
    model = sparse_of(dense)
    optimizer = OPTIMIZERS["Adam"](model.parameters())
    dst = RigL(model, optimizer, total_steps=40, every=3, alpha=alpha, memory=2**14)
    train(model, optimizer, 2)
    layers = sparse_layers(model)
    with torch.no_grad():
        for name, layer in layers.items():
            own = dense.get_submodule(name)
            own.weight.copy_(layer.matrix().toarray().view_as(own.weight))
            own.bias.copy_(layer.bias)
    optimizer.zero_grad()
    for step in range(micro_batches):
        x, y = batch(100 + step)
        for net in (model, dense):
            nn.functional.cross_entropy(net(x), y).backward()
    before = [p.clone() for p in model.parameters()]
    steps = [state["step"].clone() for state in optimizer.state.values()]
    optimizer.step()
    fraction = alpha / 2 * (1 + math.cos(math.pi * 3 / 30))
    for name, layer in layers.items():
        own = dense.get_submodule(name).weight
        mask, weights = dense_update(own.detach(), own.grad, fraction)
        matrix = layer.matrix()
        stored = matrix.with_data(torch.ones_like(matrix.data)).toarray() != 0
        assert torch.equal(stored, mask.flatten(1)), name
        assert torch.equal(matrix.toarray(), weights.flatten(1)), name
        moment = matrix.with_data(optimizer.state[layer.values]["exp_avg_sq"]).toarray()
        fresh = mask & (own == 0)
        assert bool(fresh.any())
        assert bool((moment.view_as(fresh)[fresh] == 0).all())
    # The update took the step's place: nothing else moved, no step was counted by Adam.
    for p, old in zip(model.parameters(), before, strict=True):
        assert p.grad is None
        assert p.ndim == 1
        assert any(p is layer.values for layer in layers.values()) or torch.equal(p, old)
    assert [state["step"] for state in optimizer.state.values()] == steps
    assert dst.step == 3
    assert not any(layer._forward_hooks for layer in layers.values())


def test_updates_come_every_so_often_until_the_end() -> None:
    model = sparse_of(dense_net())
    dst = RigL(model, OPTIMIZERS["SGD"](model.parameters()), total_steps=40, every=10)
    assert [t for t in range(50) if dst.updates_at(t)] == [10, 20]
    assert not SET(
        model, OPTIMIZERS["SGD"](model.parameters()), total_steps=10, every=5, end=0.5
    ).updates_at(5)


@pytest.mark.parametrize("method", [SET, RigL])
def test_a_resumed_run_is_the_same_bit_for_bit(method: Any) -> None:
    def start() -> tuple[Any, Any, Any]:
        model = sparse_of(dense_net(torch.float32))
        optimizer = OPTIMIZERS["Adam"](model.parameters())
        return model, optimizer, method(model, optimizer, total_steps=20, every=3)

    model, optimizer, dst = start()
    train(model, optimizer, 5)  # the next step is an update
    states = copy.deepcopy([part.state_dict() for part in (model, optimizer, dst)])
    train(model, optimizer, 9, start=5)
    again = start()
    for part, state in zip(again, states, strict=True):
        part.load_state_dict(state)
    train(again[0], again[1], 9, start=5)
    expected, found = everything(model, optimizer), everything(*again[:2])
    assert len(expected) == len(found)
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
    assert again[2].step == dst.step == 14


@pytest.mark.parametrize("fused", [False, True])
def test_steps_that_grad_scaler_skips_are_not_counted(fused: bool) -> None:
    model = sparse_of(dense_net(torch.float32))
    optimizer = torch.optim.Adam(model.parameters(), fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    dst = RigL(model, optimizer, total_steps=10, every=2)
    counts = dst.nnz()
    for step, overflow in enumerate((False, True, True, False, False)):
        x, y = batch(step, torch.float32)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        scaler.scale(loss * (math.inf if overflow else 1)).backward()
        structure = [layer.indices for layer in sparse_layers(model).values()]
        scaler.step(optimizer)
        scaler.update()
        layers = sparse_layers(model).values()
        same = [layer.indices is old for layer, old in zip(layers, structure, strict=True)]
        assert same == [step != 3] * 4  # the second step that is taken
    assert dst.step == 3
    assert dst.nnz() == counts
    assert all(bool(p.isfinite().all()) for p in model.parameters())


def test_what_cannot_be_done_is_refused() -> None:
    dense = dense_net()
    sgd = OPTIMIZERS["SGD"](dense.parameters())
    with pytest.raises(ValueError, match="has no CSRLinear or CSRConv2d that trains"):
        RigL(dense, sgd, total_steps=10)
    model = sparse_of(dense)
    with pytest.raises(ValueError, match="layer '0': the optimizer does not hold its values"):
        RigL(model, sgd, total_steps=10)
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    for wrong in ({"total_steps": 0}, {"every": 0}, {"alpha": 1.5}, {"end": -1}):
        with pytest.raises(ValueError, match=f"SET: {next(iter(wrong))} is"):
            SET(model, optimizer, **{"total_steps": 10, **wrong})
    dst = RigL(model, optimizer, total_steps=10, every=1)
    with pytest.raises(ValueError, match="another driver"):
        SET(model, optimizer, total_steps=10)
    with pytest.raises(ValueError, match="closure"):
        optimizer.step(lambda: torch.zeros(()))
    model[4].values.grad = torch.ones_like(model[4].values)
    with pytest.raises(RuntimeError, match="layer '4' has a gradient, but its forward"):
        optimizer.step()
    assert dst.step == 0
    dst.remove()
    model[4].prepare_()
    with pytest.raises(ValueError, match="restore_"), SET(model, optimizer, total_steps=10):
        pass


def test_dense_and_frozen_layers_take_no_part() -> None:
    model = sparse_of(dense_net())
    model[0].requires_grad_(False)
    model[6] = nn.Linear(24, 4).double()
    optimizer = OPTIMIZERS["SGD"]([p for p in model.parameters() if p.requires_grad])
    assert list(sc.pruning.RigL(model, optimizer, total_steps=9).nnz()) == ["2", "4"]
