"""Top-KAST: A in the forward pass, B trained, against dense arrays."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")
nn = torch.nn

from sparsecore.pruning import TopKAST  # noqa: E402
from training_cases import (  # noqa: E402
    OPTIMIZERS,
    batch,
    dense_net,
    everything,
    sparse_layers,
    sparse_of,
    train,
)

PENALTY = 0.01


def oracle_step(weights: dict[str, Any], momenta: dict[str, Any], masks: Any, net: Any) -> None:
    """One SGD step of Top-KAST on dense arrays: `net` has A's weights and their gradient."""
    for name, own in weights.items():
        forward = net.get_submodule(name).weight
        b, a = masks[name], masks[name] & (forward.detach() != 0)
        share = own.numel() / int(a.sum())
        penalty = PENALTY * own.sign() * torch.where(a, torch.ones_like(own), share)
        gradient = torch.where(b, forward.grad + penalty, 0)
        momenta[name] = 0.9 * momenta[name] + gradient
        own -= 0.1 * momenta[name]


def top_half(own: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    ranked = torch.where(b, own.abs(), -1).flatten().argsort(descending=True, stable=True)
    a = torch.zeros_like(b).flatten()
    a[ranked[: round(int(b.sum()) / 2)]] = True
    return a.view_as(b)


def test_steps_are_those_of_dense_arrays() -> None:
    net = dense_net()
    model = sparse_of(net)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    names = list(sparse_layers(model))
    weights = {n: net.get_submodule(n).weight.detach().clone() for n in names}
    masks = {n: own != 0 for n, own in weights.items()}
    momenta = {n: torch.zeros_like(own) for n, own in weights.items()}
    others = [p for n, p in net.named_parameters() if n.endswith("bias")]
    bias_optimizer = torch.optim.SGD(others, lr=0.1, momentum=0.9)
    dst = TopKAST(model, optimizer, active=0.5, penalty=PENALTY, every=1000)
    changed = 0
    for step in range(25):
        for n, own in weights.items():
            a = top_half(own, masks[n])
            changed += step > 0 and not torch.equal(a, net.get_submodule(n).weight != 0)
            net.get_submodule(n).weight.data = torch.where(a, own, 0)
        x, y = batch(step)
        net.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        oracle_step(weights, momenta, masks, net)
        bias_optimizer.step()
        (ours,) = train(model, optimizer, 1, start=step)
        assert ours == pytest.approx(loss.item(), rel=1e-11)
    assert changed > 2  # A is not what it was
    assert dst.active() == {n: round(int(b.sum()) / 2) for n, b in masks.items()}
    for n, layer in sparse_layers(model).items():
        a = top_half(weights[n], masks[n])
        expected = torch.where(a, weights[n], 0).flatten(1)
        torch.testing.assert_close(layer.matrix().toarray(), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_counts_stay_exact_and_the_loss_falls(kind: str) -> None:
    model = sparse_of(dense_net(torch.float32))
    optimizer = OPTIMIZERS[kind](model.parameters())
    dst = TopKAST(model, optimizer, active=0.6, every=4)
    counts, structure = dst.nnz(), [layer.indices for layer in sparse_layers(model).values()]
    losses = train(model, optimizer, 60)
    assert dst.nnz() == counts
    assert dst.active() == {n: round(0.6 * count) for n, count in counts.items()}
    for (n, layer), old in zip(sparse_layers(model).items(), structure, strict=True):
        assert int(layer.values.count_nonzero()) <= round(0.6 * counts[n])
        assert not torch.equal(layer.indices, old)
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


def test_a_resumed_run_is_the_same_bit_for_bit() -> None:
    def start() -> tuple[Any, Any, Any]:
        model = sparse_of(dense_net(torch.float32))
        optimizer = OPTIMIZERS["Adam"](model.parameters())
        return model, optimizer, TopKAST(model, optimizer, every=3)

    model, optimizer, dst = start()
    train(model, optimizer, 5)
    states = copy.deepcopy([part.state_dict() for part in (model, optimizer, dst)])
    train(model, optimizer, 9, start=5)
    again = start()
    for part, state in zip(again, states, strict=True):
        part.load_state_dict(state)
    train(again[0], again[1], 9, start=5)
    expected, found = everything(model, optimizer), everything(*again[:2])
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
    assert torch.equal(dst.state_dict()["resting"]["4"], again[2].state_dict()["resting"]["4"])
    other = {**states[2], "active": {"4": torch.ones(3, dtype=torch.bool)}}
    with pytest.raises(ValueError, match="load_state_dict: active are"):
        dst.load_state_dict(other)


@pytest.mark.parametrize("fused", [False, True])
def test_grad_scaler_scales_the_penalty_out_and_skips(fused: bool) -> None:
    runs = []
    for scale in (1.0, 1024.0):
        model = sparse_of(dense_net(torch.float32))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=fused)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=1000)
        dst = TopKAST(model, optimizer, penalty=0.5, every=2)
        for step, overflow in enumerate((False, True, False)):
            x, y = batch(step, torch.float32)
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            scaler.scale(loss * (math.inf if overflow else 1)).backward()
            scaler.step(optimizer)
            scaler.update(scale)
        assert dst.step == 2
        runs.append(everything(model, optimizer))
    # Powers of two: scaled or not, the numbers are the same.
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def test_arguments_out_of_range_are_refused() -> None:
    model = sparse_of(dense_net())
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    for wrong in ({"active": 0}, {"penalty": -1}, {"every": 0}, {"explore": 2}):
        with pytest.raises(ValueError, match=f"TopKAST: {next(iter(wrong))} is"):
            TopKAST(model, optimizer, **wrong)
