"""Pruner: what it leaves alone, how it ends, and what it says of itself."""

from __future__ import annotations

import pytest

from sparsecore import pruning
from sparsecore.pruning import Cubic

torch = pytest.importorskip("torch")
nn = torch.nn

from pruner_cases import OPTIMIZERS, RAMP, small_net, train  # noqa: E402


def test_names_state_dict_and_hooks_of_the_model_are_unchanged() -> None:
    model, untouched = small_net(), small_net()
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    attributes = {name: set(vars(module)) for name, module in model.named_modules()}
    with pruning.Pruner(model, schedule=RAMP, sparsity=0.5, optimizer=optimizer):
        train(model, optimizer, 12)
        assert list(model.state_dict()) == list(untouched.state_dict())
        assert [n for n, _ in model.named_parameters()] == [
            n for n, _ in untouched.named_parameters()
        ]
        assert attributes == {name: set(vars(module)) for name, module in model.named_modules()}
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_remove_and_leaving_the_block_detach_the_hook() -> None:
    model = small_net()
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    with pruning.Pruner(model, sparsity=0.9, optimizer=optimizer) as pruner:
        train(model, optimizer, 2)
    train(model, optimizer, 2)
    assert pruner.step == 2
    assert int(torch.count_nonzero(model[4].weight)) > pruner.kept()["4.weight"]
    assert len(optimizer._optimizer_step_post_hooks) == 0
    pruner.remove()


def test_an_unfinished_schedule_is_told_once() -> None:
    model = small_net()
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    # After 2 of 4 steps: 0.9 * (1 - 0.5**3) = 0.7875, of 507 weights 399: 0.787.
    told = r"removed after 2 steps at sparsity 0\.787, before the target 0\.9, which Cubic\("
    with (
        pytest.warns(UserWarning, match=told) as warned,
        pruning.Pruner(model, schedule=Cubic(0, 4, 1), sparsity=0.9, optimizer=optimizer) as pruner,
    ):
        train(model, optimizer, 2)
    assert [warning.filename for warning in warned] == [__file__]
    assert len(optimizer._optimizer_step_post_hooks) == 0
    pruner.remove()
    early = pruning.Pruner(model, schedule=RAMP, sparsity=0.9, optimizer=optimizer)
    with pytest.warns(UserWarning, match="removed after 0 steps at sparsity 0, before"):
        early.remove()


def test_an_exception_leaves_the_block_without_a_warning() -> None:
    model = small_net()
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    with (
        pytest.raises(KeyError, match="stop"),
        pruning.Pruner(model, schedule=RAMP, sparsity=0.9, optimizer=optimizer) as pruner,
    ):
        {}["stop"]
    pruner.remove()


def test_a_second_pruner_of_the_same_weights_is_refused() -> None:
    model = small_net()
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    first = pruning.Pruner(
        model, sparsity=0.5, optimizer=optimizer, where=lambda name, _: name == "4.weight"
    )
    before = model[0].weight.detach().clone()
    with pytest.raises(ValueError, match=r"already pruned by another .*: 4\.weight \(Pruner\)"):
        pruning.Pruner(model, sparsity=0.9, optimizer=optimizer)
    assert torch.equal(model[0].weight, before)
    # Other weights, or the same after remove(), are free.
    pruning.Pruner(
        model, sparsity=0.5, optimizer=optimizer, where=lambda name, _: name == "0.weight"
    ).remove()
    first.remove()
    pruning.Pruner(model, sparsity=0.9, optimizer=optimizer)


def test_repr_is_one_line() -> None:
    model = nn.Linear(10, 4)
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    pruner = pruning.Pruner(model, schedule=Cubic(0, 4, 2), sparsity=0.9, optimizer=optimizer)
    expected = (
        "Pruner(1 weights, step 0, sparsity 0 of 0.9, Unstructured(), "
        "Cubic(begin=0, end=4, every=2))"
    )
    assert repr(pruner) == expected


def test_the_masks_mapping_is_read_only() -> None:
    model = small_net()
    pruner = pruning.Pruner(model, sparsity=0.5, optimizer=OPTIMIZERS["SGD"](model.parameters()))
    with pytest.raises(TypeError):
        pruner.masks["0.weight"] = None
