"""Pruner: its state saved, refused where it does not fit, and a run resumed from it."""

from __future__ import annotations

import io
from typing import Any

import pytest

from sparsecore import pruning
from sparsecore.pruning import allocation

torch = pytest.importorskip("torch")
nn = torch.nn

from pruner_cases import OPTIMIZERS, RAMP, small_net, train  # noqa: E402


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize("stop", [0, 5, 14])
def test_a_resumed_run_is_bit_equal(kind: str, stop: int) -> None:
    def build(seed: int) -> tuple[Any, Any, pruning.Pruner]:
        model = small_net(seed)
        optimizer = OPTIMIZERS[kind](model.parameters())
        pruner = pruning.Pruner(
            model,
            allocation=allocation.global_,
            schedule=RAMP,
            sparsity=0.9,
            optimizer=optimizer,
        )
        return model, optimizer, pruner

    straight = build(0)
    train(*straight[:2], 16)
    first = build(0)
    train(*first[:2], stop)
    file = io.BytesIO()
    torch.save([part.state_dict() for part in first], file)
    train(*first[:2], 1, start=stop)  # what was saved must not follow what goes on
    file.seek(0)
    resumed = build(1)
    for part, state in zip(resumed, torch.load(file, weights_only=True), strict=True):
        part.load_state_dict(state)
    train(*resumed[:2], 16 - stop, start=stop)
    for name, value in straight[0].state_dict().items():
        assert torch.equal(value, resumed[0].state_dict()[name]), name
    for name, mask in straight[2].masks.items():
        assert torch.equal(mask, resumed[2].masks[name]), name
    assert straight[2].step == resumed[2].step == 16


def test_state_dict_is_a_copy() -> None:
    model = small_net()
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    pruner = pruning.Pruner(model, schedule=RAMP, sparsity=0.9, optimizer=optimizer)
    state = pruner.state_dict()
    train(model, optimizer, 12)
    assert state["step"] == 0
    assert all(bool(mask.all()) for mask in state["masks"].values())


def test_a_state_for_another_model_is_refused_and_changes_nothing() -> None:
    model, other = small_net(), nn.Linear(3, 3)
    one, two = (
        pruning.Pruner(m, sparsity=0.5, optimizer=OPTIMIZERS["SGD"](m.parameters()))
        for m in (model, other)
    )
    before = two.state_dict()
    with pytest.raises(ValueError, match=r"masks are .*0\.weight.*this model needs .*\(3, 3\)"):
        two.load_state_dict(one.state_dict())
    assert torch.equal(before["masks"]["weight"], two.masks["weight"])
