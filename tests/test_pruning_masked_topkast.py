"""Top-KAST on masked dense weights: by hand, against dense arrays, and as CSR layers train."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
nn = torch.nn

from masked_cases import (  # noqa: E402
    ALL_OPTIMIZERS,
    masks_of,
    row_mask,
    row_of,
    states_of,
    step_with,
)
from sparsecore.pruning import TopKAST  # noqa: E402
from training_cases import batch, dense_net, sparse_of, train  # noqa: E402

FIRST = row_mask([1, 1, 1, 1, 0, 0, 0, 0])


def test_two_steps_by_hand() -> None:
    layer = row_of([4.0, -3, 2, -1, 0.5, 0.25, 0.125, 0])
    sgd = torch.optim.SGD(layer.parameters(), lr=1.0, momentum=0.5)
    dst = TopKAST(layer, sgd, active=0.5, penalty=0.25, masks=FIRST)
    # A is {0, 1}; D is 2 / 8, so the penalty's gradient is 1/4 on A and 1 on the rest of B.
    assert layer.weight.tolist() == [[4, -3, 0, 0, 0, 0, 0, 0]]
    step_with(sgd, layer, [1.0] * 8)
    # Gradients 1.25, 0.75, 2, 0, then none: 2.75, -3.75, 0, -1 and what waits.
    # The four largest are now elements 0, 1, 3 and, with the value it had, 4.
    assert layer.weight.tolist() == [[2.75, -3.75, 0, 0, 0, 0, 0, 0]]
    assert dst.masks["weight"].long().tolist() == [[1, 1, 0, 1, 1, 0, 0, 0]]
    assert sgd.state[layer.weight]["momentum_buffer"].tolist() == [[1.25, 0.75, 0, 0, 0, 0, 0, 0]]
    step_with(sgd, layer, [0.0, 0, 9, -4, 0, 9, 9, 9])
    # Momenta 0.625 + 0.25, 0.375 - 0.25, none, -4 - 1, 1, none.
    assert sgd.state[layer.weight]["momentum_buffer"].tolist() == [
        [0.875, 0.125, 0, -5, 1, 0, 0, 0]
    ]
    # 1.875, -3.875, 0, 4, -0.5, 0.25, 0.125, 0: elements 1 and 3 are A, and 0 and 4 the rest of B.
    assert layer.weight.tolist() == [[0, -3.875, 0, 4, 0, 0, 0, 0]]
    assert dst.state_dict()["resting"]["weight"].tolist() == [1.875, 0, -0.5, 0.25, 0.125, 0]
    assert dst.active() == {"weight": 2}


def oracle_step(w: Any, b: Any, a: Any, momentum: Any, gradient: Any) -> None:
    """One SGD step of Top-KAST with decay and momentum on a dense array, in place."""
    inverse = w.numel() / int(a.sum())
    total = gradient + 0.01 * w.sign() * torch.where(a, 1.0, inverse) + 0.001 * w
    momentum.mul_(0.9).add_(total).mul_(b)
    w -= 0.05 * momentum


def largest(w: Any, count: int) -> Any:
    order = w.abs().flatten().argsort(descending=True, stable=True)
    mask = torch.zeros(w.numel(), dtype=torch.bool)
    mask[order[:count]] = True
    return mask.view_as(w)


def test_training_is_that_of_dense_arrays() -> None:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Flatten(), nn.Linear(72, 16), nn.Tanh(), nn.Linear(16, 4)).double()
    names = ["1.weight", "3.weight"]
    own = {n: net.get_parameter(n).detach().clone() for n in names}
    counts = {n: w.numel() // 4 for n, w in own.items()}
    # All but the weights is kept still, and the mask is the largest quarter.
    sgd = torch.optim.SGD(
        [net.get_parameter(n) for n in names], lr=0.05, momentum=0.9, weight_decay=0.001
    )
    masks = {n: largest(w, counts[n]) for n, w in own.items()}
    dst = TopKAST(net, sgd, active=0.5, penalty=0.01, masks=masks)
    momenta = {n: torch.zeros_like(w) for n, w in own.items()}
    first = {n: mask.clone() for n, mask in masks.items()}
    for step in range(25):
        for n, w in own.items():
            a = largest(w, round(counts[n] / 2))
            torch.testing.assert_close(
                net.get_parameter(n).detach(), torch.where(a, w, 0), rtol=1e-9, atol=1e-12
            )
        x, y = batch(step)
        sgd.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        for n, w in own.items():
            b, a = largest(w, counts[n]), largest(w, round(counts[n] / 2))
            gradient: Any = net.get_parameter(n).grad
            oracle_step(w, b, a, momenta[n], gradient)
        sgd.step()
        for n, w in own.items():
            b = largest(w, counts[n])
            assert torch.equal(dst.masks[n], b)
            momenta[n].mul_(b)
    assert any(not torch.equal(dst.masks[n], mask) for n, mask in first.items())


@pytest.mark.parametrize("kind", ALL_OPTIMIZERS)
def test_nothing_moves_outside_of_the_trained_set(kind: str) -> None:
    model = dense_net(torch.float32)
    torch.manual_seed(2)
    with torch.no_grad():
        model[4].weight.copy_(torch.randn(24, 32))
    masks = {"4.weight": model[4].weight.detach().abs() > 1}
    optimizer = ALL_OPTIMIZERS[kind](model.parameters())
    dst = TopKAST(model, optimizer, active=0.5, penalty=0.5, masks=masks)
    for step in range(6):
        before, waiting = dst.masks["4.weight"], whole(dst, model[4].weight)
        train(model, optimizer, 1, start=step)
        after = whole(dst, model[4].weight)
        assert torch.equal(after[~before], waiting[~before])
        assert not torch.equal(after[before], waiting[before])
        assert int(model[4].weight.count_nonzero()) == dst.active()["4.weight"]
        outside = ~(before & dst.masks["4.weight"])
        states = states_of(optimizer, model[4].weight)
        assert all(bool((state[outside] == 0).all()) for state in states)
    assert dst.nnz() == {"4.weight": int(masks["4.weight"].sum())}
    assert not torch.equal(masks["4.weight"], dst.masks["4.weight"])


def whole(dst: TopKAST, weight: Any) -> Any:
    """Return all numbers of a weight, those that rest included."""
    state = dst.state_dict()
    result = weight.detach().clone()
    result[~state["active"]["4.weight"]] = state["resting"]["4.weight"]
    return result


def test_csr_layers_and_masked_weights_train_alike() -> None:
    dense = dense_net()
    sparse = sparse_of(dense)
    adams = [torch.optim.Adam(m.parameters(), lr=0.01) for m in (dense, sparse)]
    # Where zeros wait outside, none is among the largest, so that B stays.
    TopKAST(dense, adams[0], active=0.6, masks=masks_of(dense))
    TopKAST(sparse, adams[1], active=0.6, explore=0.0)
    losses = [train(m, o, 20) for m, o in zip((dense, sparse), adams, strict=True)]
    tolerance = 20 * 8 * 36 * torch.finfo(torch.float64).eps
    torch.testing.assert_close(losses[0], losses[1], rtol=tolerance, atol=tolerance)


def test_what_is_for_csr_layers_is_refused() -> None:
    layer = row_of([1.0] * 8)
    sgd = torch.optim.SGD(layer.parameters())
    with pytest.raises(ValueError, match="TopKAST: every, explore with masks="):
        TopKAST(layer, sgd, every=3, explore=0.1, masks=FIRST)
    dst = TopKAST(layer, sgd, masks=FIRST)
    state = dst.state_dict()
    with pytest.raises(ValueError, match=r"TopKAST.load_state_dict: masks are \{\}"):
        dst.load_state_dict({**state, "masks": {}})
    assert dst.step_flops({"weight": 80.0}) == 2 * 20 + 40
