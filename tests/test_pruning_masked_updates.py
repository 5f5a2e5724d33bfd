"""RigL and SET on masked dense weights: golden and hand-made updates, masks that stay in force."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")
nn = torch.nn

from golden import golden  # noqa: E402
from masked_cases import (  # noqa: E402
    ALL_OPTIMIZERS,
    masks_of,
    row_mask,
    row_of,
    states_of,
    step_with,
)
from sparsecore.bench.sparse_training.masked_dense import MaskedDense  # noqa: E402
from sparsecore.pruning import SET, RigL, mask_updates  # noqa: E402
from training_cases import batch, dense_net, sparse_layers, sparse_of, train  # noqa: E402


@pytest.mark.parametrize("case", ["0.0", "0.5", "0.75", "1.0"])
def test_update_is_jaxpruners(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It drops by signed values, ours by magnitudes: the weights have magnitudes of that order."""
    entry = golden(f"rigl.update.drop{case}")
    given = entry["input"]
    order = sorted(given["drop_score"])
    magnitudes = [1.0 + order.index(score) for score in given["drop_score"]]
    values = [v * m for v, m in zip(magnitudes, given["old_mask"], strict=True)]
    layer = row_of([-v if i % 2 else v for i, v in enumerate(values)])
    sgd = torch.optim.SGD(layer.parameters(), lr=1.0)
    # No step has f(t) = 1 but step 0, which is none of the optimizer's.
    fraction = given["drop_fraction"]
    monkeypatch.setattr(mask_updates, "drop_fraction", lambda *_, **__: fraction)
    dst = RigL(layer, sgd, total_steps=9, every=1, masks=row_mask(given["old_mask"]))
    step_with(sgd, layer, given["grow_score"])
    assert dst.masks["weight"].long().tolist() == [entry["expected"]]


def test_update_by_hand() -> None:
    layer = row_of([0.1, -0.2, 3, -4, 0, 0, 0, 0])
    adam = torch.optim.Adam(layer.parameters(), lr=0.5)
    # Half of the entries leave at step 2: alpha / 2 * (1 + cos(pi / 2)).
    settings: Any = {"total_steps": 8, "end": 0.5, "every": 2, "alpha": 1.0}
    dst = RigL(layer, adam, masks=row_mask([1, 1, 1, 1, 0, 0, 0, 0]), **settings)
    step_with(adam, layer, [0.0, 1, 1, 1, 1, 1, 1, 1])
    before = layer.weight.detach().clone()
    states = [state.clone() for state in states_of(adam, layer.weight)]
    seen = dst.masks
    # Elements 0 and 1 leave. 0 has the largest gradient and comes back; 5 comes anew.
    step_with(adam, layer, [9.0, 0, 7, 0, 5, -6, 1, 0])
    assert dst.masks["weight"].long().tolist() == [[1, 0, 1, 1, 0, 1, 0, 0]]
    assert seen["weight"].long().tolist() == [[1, 1, 1, 1, 0, 0, 0, 0]]
    kept = torch.tensor([[1.0, 0, 1, 1, 0, 0, 0, 0]])
    assert torch.equal(layer.weight.detach(), before * kept)
    assert float(before[0, 0]) == 0.1
    for now, old in zip(states_of(adam, layer.weight), states, strict=True):
        assert torch.equal(now, old * kept)
    assert float(adam.state[layer.weight]["step"]) == 1
    assert layer.weight.grad is None
    assert dst.nnz() == {"weight": 4}


def test_gradients_of_micro_batches_are_summed_before_they_are_ranked() -> None:
    layer = row_of([4.0, 3, 2, 1, 0, 0, 0, 0])
    sgd = torch.optim.SGD(layer.parameters(), lr=0.1)
    dst = RigL(
        layer, sgd, total_steps=4, every=1, alpha=0.5, masks=row_mask([1, 1, 1, 1, 0, 0, 0, 0])
    )
    for x in ([0, 0, 0, 0, 9, 2, 0, 0], [0, 0, 0, 0, -9, 1, 0, 0]):
        layer(torch.tensor(x, dtype=torch.float64)).sum().backward()
    sgd.step()
    assert dst.masks["weight"].long().tolist() == [[1, 1, 1, 0, 0, 1, 0, 0]]


def test_set_draws_among_all_places_but_the_survivors() -> None:
    counts = torch.zeros(8)
    for seed in range(100):
        layer = row_of([4.0, 3, 2, 1, 0, 0, 0, 0])
        sgd = torch.optim.SGD(layer.parameters(), lr=0.1)
        draw = torch.Generator().manual_seed(seed)
        masks = row_mask([1, 1, 1, 1, 0, 0, 0, 0])
        dst = SET(layer, sgd, total_steps=4, every=1, alpha=0.5, generator=draw, masks=masks)
        step_with(sgd, layer, [1.0] * 8)
        counts += dst.masks["weight"][0]
        assert dst.nnz() == {"weight": 4}
    assert counts[:3].tolist() == [100] * 3
    # Each of five places in 100 draws: 20, standard deviation 4.
    assert float((counts[3:] - 20).abs().max()) < 4 * math.sqrt(100 * 0.2 * 0.8)


@pytest.mark.parametrize("kind", ALL_OPTIMIZERS)
def test_masks_are_in_force_after_each_step(kind: str) -> None:
    model = dense_net(torch.float32)
    first = masks_of(model)
    groups = [
        {"params": [p for n, p in model.named_parameters() if n in first], "weight_decay": 0.01},
        {"params": [p for n, p in model.named_parameters() if n not in first], "lr": 0.02},
    ]
    optimizer = ALL_OPTIMIZERS[kind](groups)
    with torch.no_grad():
        model[4].weight.add_(0.5)  # the masks decide, not the zeros
    method = SET if kind == "Adam" else RigL
    dst = method(model, optimizer, total_steps=20, every=3, masks=first)
    for step in range(12):
        train(model, optimizer, 1, start=step)
        for name, mask in dst.masks.items():
            weight = model.get_parameter(name)
            states = states_of(optimizer, weight)
            assert all(bool((x[~mask] == 0).all()) for x in (weight.detach(), *states))
    assert dst.nnz() == {name: int(mask.sum()) for name, mask in first.items()}
    assert all(not torch.equal(dst.masks[name], mask) for name, mask in first.items())


def test_gradients_outside_of_a_mask_reach_nothing() -> None:
    layers, states = [], []
    mask = row_mask([1, 1, 1, 1, 0, 0, 0, 0])
    for outside in (0.0, 9.0, math.nan):
        layer = row_of([4.0, 3, 2, 1, 0, 0, 0, 0])
        # It has a mean over all elements of a row.
        optimizer = torch.optim.Adafactor(layer.parameters(), lr=0.1)
        dst = RigL(layer, optimizer, total_steps=9, every=9, masks=mask)
        step_with(optimizer, layer, [1.0, 2, 3, 4] + [outside] * 4)
        layers.append(layer.weight.detach())
        states.append(torch.cat([s.flatten() for s in optimizer.state[layer.weight].values()]))
        assert torch.equal(layer.weight.grad[0], torch.tensor([1.0, 2, 3, 4, 0, 0, 0, 0]).double())
    assert not torch.equal(layers[0], row_of([4.0, 3, 2, 1, 0, 0, 0, 0]).weight)
    for numbers in (layers, states):
        assert torch.equal(numbers[0], numbers[1])
        assert torch.equal(numbers[0], numbers[2])
    mask["weight"].fill_(True)  # the driver has its own
    assert dst.nnz() == {"weight": 4}
    assert int(dst.masks["weight"].sum()) == 4


def test_training_is_that_of_another_implementation() -> None:
    model = dense_net()
    other = copy.deepcopy(model)
    settings: Any = {"total_steps": 40, "every": 3}
    adam, others = (torch.optim.Adam(net.parameters(), lr=0.01) for net in (model, other))
    dst = RigL(model, adam, masks=masks_of(model), **settings)
    weights: Any = {name: other.get_parameter(name) for name in dst.masks}
    reference = MaskedDense(weights, others, **settings)
    losses = train(model, adam, 30)
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    for step, ours in enumerate(losses):
        x, y = batch(step)
        others.zero_grad()
        loss = nn.functional.cross_entropy(other(x), y)
        loss.backward()
        reference.step()
        assert ours == pytest.approx(loss.item(), rel=1e-12)
    assert all(torch.equal(mask, reference.masks[name]) for name, mask in dst.masks.items())


@pytest.mark.parametrize("method", [SET, RigL])
def test_csr_layers_and_masked_weights_train_alike(method: Any) -> None:
    dense = dense_net()
    sparse = sparse_of(dense)
    settings: Any = {"total_steps": 30, "every": 3}
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.05, momentum=0.9) for m in (dense, sparse)]
    masked = method(dense, optimizers[0], masks=masks_of(dense), **settings)
    stored = method(sparse, optimizers[1], **settings)
    losses = [train(m, o, 30) for m, o in zip((dense, sparse), optimizers, strict=True)]
    # Sums of 8 images of 36 pixels at most, in another order in each step.
    tolerance = 30 * 8 * 36 * torch.finfo(torch.float64).eps
    torch.testing.assert_close(losses[0], losses[1], rtol=tolerance, atol=tolerance)
    for name in sparse_layers(sparse):
        assert torch.equal(masked.masks[f"{name}.weight"].flatten(1), stored.masks[name])
