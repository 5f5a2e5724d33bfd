"""Training CSR layers gives the losses of training masked dense ones with the same pattern."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
nn = torch.nn

from sparsecore import pruning  # noqa: E402
from training_cases import OPTIMIZERS, batch, dense_net, sparse_layers, sparse_of, train  # noqa: E402

STEPS = 20


def masked_training(net: nn.Sequential, optimizer: torch.optim.Optimizer) -> list[float]:
    """Train dense weights whose zeros stay zeros, without any of sparsecore."""
    weights = {name: p for name, p in net.named_parameters() if name.endswith("weight")}
    masks = {name: weight != 0 for name, weight in weights.items()}
    losses = []
    for step in range(STEPS):
        x, y = batch(step, net[0].weight.dtype)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        for name, weight in weights.items():
            weight.grad.mul_(masks[name])
        optimizer.step()
        losses.append(loss.item())
    assert all(bool((weights[name][~mask] == 0).all()) for name, mask in masks.items())
    return losses


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_losses_are_those_of_masked_dense_training(kind: str, dtype: torch.dtype) -> None:
    dense = dense_net(dtype)
    sparse = sparse_of(dense)
    assert len(sparse_layers(sparse)) == 4
    expected = masked_training(dense, OPTIMIZERS[kind](dense.parameters()))
    losses = train(sparse, OPTIMIZERS[kind](sparse.parameters()), STEPS)
    assert min(expected[5:]) < expected[0]
    # Each step rounds sums of 8 images of 36 pixels at most, in another order.
    tolerance = STEPS * 8 * 36 * torch.finfo(dtype).eps
    torch.testing.assert_close(losses, expected, rtol=tolerance, atol=tolerance)


def test_a_pruner_does_the_same() -> None:
    dense = dense_net()
    sparse = sparse_of(dense)
    kept = {name: layer.values.numel() for name, layer in sparse_layers(sparse).items()}
    optimizer = OPTIMIZERS["Adam"](dense.parameters())
    size = sum(layer.weight.numel() for layer in (dense[0], dense[2], dense[4], dense[6]))
    with pruning.Pruner(
        dense,
        sparsity=1 - sum(kept.values()) / size,
        optimizer=optimizer,
        allocation=lambda *_: {f"{name}.weight": count for name, count in kept.items()},
    ):
        expected = train(dense, optimizer, STEPS)
    losses = train(sparse, OPTIMIZERS["Adam"](sparse.parameters()), STEPS)
    torch.testing.assert_close(losses, expected, rtol=1e-9, atol=1e-9)
