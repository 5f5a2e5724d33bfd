"""Dynamic sparse training of masked weights in real loops: AMP, compiling, ties, resuming."""

from __future__ import annotations

import functools
import io
import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")
nn = torch.nn

from compiling import compiled  # noqa: E402
from masked_cases import masks_of, row_mask, row_of, step_with  # noqa: E402
from sparsecore.pruning import SET, RigL, TopKAST, allocation, prune, scores  # noqa: E402
from training_cases import batch, dense_net, everything, train  # noqa: E402

DRIVERS: dict[str, Any] = {
    "SET": functools.partial(SET, total_steps=30, every=3),
    "RigL": functools.partial(RigL, total_steps=30, every=3),
    "TopKAST": functools.partial(TopKAST, penalty=0.1),
}


def start(kind: str) -> tuple[Any, Any, Any]:
    model = dense_net(torch.float32)
    masks = masks_of(model)
    with torch.no_grad():
        for name in masks:  # what is outside of the masks: Top-KAST has it wait
            model.get_parameter(name).add_(0.1 * torch.randn(masks[name].shape))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=0.01)
    return model, optimizer, DRIVERS[kind](model, optimizer, masks=masks)


@pytest.mark.parametrize("kind", DRIVERS)
def test_a_resumed_run_is_the_same_bit_for_bit(kind: str) -> None:
    model, optimizer, dst = start(kind)
    train(model, optimizer, 5)  # the next step is an update
    file = io.BytesIO()
    torch.save([part.state_dict() for part in (model, optimizer, dst)], file)
    train(model, optimizer, 9, start=5)
    file.seek(0)
    again = start(kind)
    for part, state in zip(again, torch.load(file, weights_only=True), strict=True):
        part.load_state_dict(state)
    train(again[0], again[1], 9, start=5)
    expected, found = everything(model, optimizer), everything(*again[:2])
    assert len(expected) == len(found)
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
    assert all(torch.equal(again[2].masks[name], mask) for name, mask in dst.masks.items())
    assert again[2].step == dst.step == 14


@pytest.mark.parametrize("kind", DRIVERS)
@pytest.mark.parametrize("fused", [False, True])
def test_grad_scaler_changes_nothing_but_what_it_skips(kind: str, fused: bool) -> None:
    runs = []
    for scale in (1.0, 1024.0):
        model = dense_net(torch.float32)
        sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=fused)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=1000)
        dst = DRIVERS[kind](model, sgd, masks=masks_of(model))
        for step in range(7):
            x, y = batch(step, torch.float32)
            sgd.zero_grad()
            overflow = step in (1, 3)  # the third step that is taken is a mask update
            before = dst.masks
            loss = nn.functional.cross_entropy(model(x), y) * (math.inf if overflow else 1)
            scaler.scale(loss).backward()
            scaler.step(sgd)
            scaler.update(scale)
            if overflow:
                assert all(torch.equal(before[name], mask) for name, mask in dst.masks.items())
        assert dst.step == 5
        runs.append([*everything(model, sgd), *dst.masks.values()])
    # Powers of two: scaled or not, the numbers are the same.
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


@pytest.mark.parametrize("kind", DRIVERS)
def test_a_compiled_model_trains_alike(kind: str) -> None:
    masks, losses = [], []
    for is_compiled in (False, True):
        model, optimizer, dst = start(kind)
        net = compiled(model) if is_compiled else model
        losses.append(train(net, optimizer, 8))
        masks.append(dst.masks)
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-4, atol=1e-5)
    first = masks_of(dense_net(torch.float32))
    assert any(not torch.equal(masks[1][name], mask) for name, mask in first.items())
    assert all(torch.equal(masks[1][name], mask) for name, mask in masks[0].items())


def test_masks_of_prune_on_a_compiled_model() -> None:
    model = torch.compile(nn.Sequential(nn.Linear(20, 30), nn.Linear(30, 4)), backend="eager")
    draw = functools.partial(scores.random, generator=torch.Generator().manual_seed(0))
    masks = prune(model, 0.8, score=draw, allocation=allocation.erdos_renyi)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    dst = RigL(model, sgd, total_steps=8, every=2, masks=masks)
    assert dst.nnz() == {name: int(mask.sum()) for name, mask in masks.items()}
    for step in range(1, 4):
        sgd.zero_grad()
        model(torch.ones(3, 20) * step).square().sum().backward()
        sgd.step()
    assert sum(dst.nnz().values()) == round(0.2 * (600 + 120))
    assert any(not torch.equal(dst.masks[name], mask) for name, mask in masks.items())


@pytest.mark.parametrize("kind", DRIVERS)
def test_shared_and_frozen_parameters(kind: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.Linear(8, 8))
    model[2].weight = model[0].weight
    model[3].weight.requires_grad_(False)
    masks = {"2.weight": model[0].weight.detach().abs() > 0.2, "3.weight": torch.rand(8, 8) > 0.5}
    trained = [p for p in model.parameters() if p.requires_grad]
    sgd = torch.optim.SGD(trained, lr=0.1, momentum=0.9)
    dst = DRIVERS[kind](model, sgd, masks=masks)
    frozen = model[3].weight.clone()
    for step in range(4):
        sgd.zero_grad()
        x = torch.randn(16, 8, generator=torch.Generator().manual_seed(step))
        model(x).square().mean().backward()
        sgd.step()
    assert torch.equal(model[3].weight, frozen)
    assert torch.equal(dst.masks["3.weight"], masks["3.weight"])
    assert not torch.equal(dst.masks["2.weight"], masks["2.weight"])
    assert model[0].weight is model[2].weight
    assert bool((model[0].weight[~dst.masks["2.weight"]] == 0).all())


def test_parameters_are_found_by_name() -> None:
    layer = row_of([4.0, 3, 2, 1, 0, 0, 0, 0])
    sgd = torch.optim.SGD(layer.parameters(), lr=0.1)
    dst = RigL(layer, sgd, total_steps=9, every=1, masks=row_mask([1, 1, 1, 1, 0, 0, 0, 0]))
    layer.weight = nn.Parameter(layer.weight.detach().clone())
    sgd.param_groups[0]["params"] = [layer.weight]
    step_with(sgd, layer, [0.0, 0, 0, 0, 1, 5, 2, 1])
    assert dst.masks["weight"].long().tolist() == [[1, 1, 1, 0, 0, 1, 0, 0]]
    assert layer.weight.tolist() == [[4, 3, 2, 0, 0, 0, 0, 0]]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
@pytest.mark.parametrize("kind", DRIVERS)
def test_masks_are_on_the_device_of_the_weights(kind: str) -> None:
    found = []
    for device in ("cpu", "cuda"):
        model = dense_net().to(device)
        sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        masks = {n: m.cpu() for n, m in masks_of(model).items()}
        dst = DRIVERS[kind](model, sgd, masks=masks)
        for step in range(5):
            x, y = (part.to(device) for part in batch(step))
            sgd.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            sgd.step()
        assert all(mask.device.type == device for mask in dst.masks.values())
        found.append({name: mask.cpu() for name, mask in dst.masks.items()})
    assert all(torch.equal(found[1][name], mask) for name, mask in found[0].items())
