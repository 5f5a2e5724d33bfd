"""Pruner and prune on small torch models: masks in force, names unchanged, resumable."""

from __future__ import annotations

import functools
import io
import math
import subprocess
import sys

import numpy as np
import pytest

from sparsecore import pruning
from sparsecore.pruning import NM, Cubic, allocation, scores

torch = pytest.importorskip("torch")
nn = torch.nn

OPTIMIZERS = {
    "SGD": functools.partial(torch.optim.SGD, lr=0.05, momentum=0.9, weight_decay=1e-3),
    "Adam": functools.partial(torch.optim.Adam, lr=0.01),
    "AdamW amsgrad": functools.partial(torch.optim.AdamW, lr=0.01, amsgrad=True),
    "Adam fused": functools.partial(torch.optim.Adam, lr=0.01, fused=True),
    "RMSprop": functools.partial(torch.optim.RMSprop, lr=0.01, momentum=0.9, centered=True),
}
RAMP = Cubic(begin=2, end=12, every=2)


def small_net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 10)
    )


def train(model, optimizer, steps, *, start=0):
    """Take `steps` steps; the data depend on the step only, so a resumed run sees the same."""
    for step in range(start, start + steps):
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(8, 1, 6, 6, generator=generator)
        y = torch.randint(10, (8,), generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()


def pruned_weights_and_states(model, optimizer, pruner):
    for name, mask in pruner.masks.items():
        weight = model.get_parameter(name)
        states = [
            value
            for value in optimizer.state[weight].values()
            if torch.is_tensor(value) and value.shape == weight.shape
        ]
        yield weight, states, ~mask


# ---- training under a schedule ----


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize(
    "allocate", [allocation.uniform, allocation.global_, allocation.erdos_renyi]
)
def test_cubic_keeps_exact_counts_and_zeros_all_the_way(kind, allocate):
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


def test_masks_only_shrink_and_follow_the_magnitudes_of_their_time():
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


def test_pruned_weights_stay_pruned_under_a_random_score():
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


def test_masked_training_equals_training_the_surviving_weights_alone():
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


def test_one_shot_prunes_at_construction_and_holds():
    model = small_net()
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    pruner = pruning.Pruner(model, sparsity=0.75, optimizer=optimizer)
    masks = {name: mask.clone() for name, mask in pruner.masks.items()}
    assert {n: int(torch.count_nonzero(model.get_parameter(n))) for n in masks} == pruner.kept()
    train(model, optimizer, 3)
    assert all(torch.equal(mask, masks[name]) for name, mask in pruner.masks.items())
    assert {n: int(torch.count_nonzero(model.get_parameter(n))) for n in masks} == pruner.kept()


def test_nm_through_training():
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


# ---- what the pruner leaves alone ----


def test_names_state_dict_and_hooks_of_the_model_are_unchanged():
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


def test_remove_and_leaving_the_block_detach_the_hook():
    model = small_net()
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    with pruning.Pruner(model, sparsity=0.9, optimizer=optimizer) as pruner:
        train(model, optimizer, 2)
    train(model, optimizer, 2)
    assert pruner.step == 2
    assert int(torch.count_nonzero(model[4].weight)) > pruner.kept()["4.weight"]
    assert len(optimizer._optimizer_step_post_hooks) == 0
    pruner.remove()


def test_an_unfinished_schedule_is_told_once():
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


def test_an_exception_leaves_the_block_without_a_warning():
    model = small_net()
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    with (
        pytest.raises(KeyError, match="stop"),
        pruning.Pruner(model, schedule=RAMP, sparsity=0.9, optimizer=optimizer) as pruner,
    ):
        {}["stop"]
    pruner.remove()


def test_a_second_pruner_of_the_same_weights_is_refused():
    model = small_net()
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    first = pruning.Pruner(
        model, sparsity=0.5, optimizer=optimizer, where=lambda name, _: name == "4.weight"
    )
    before = model[0].weight.detach().clone()
    with pytest.raises(ValueError, match=r"Pruner: 4\.weight already pruned by another Pruner"):
        pruning.Pruner(model, sparsity=0.9, optimizer=optimizer)
    assert torch.equal(model[0].weight, before)
    # Other weights, or the same after remove(), are free.
    pruning.Pruner(
        model, sparsity=0.5, optimizer=optimizer, where=lambda name, _: name == "0.weight"
    ).remove()
    first.remove()
    pruning.Pruner(model, sparsity=0.9, optimizer=optimizer)


def test_repr_is_one_line():
    model = nn.Linear(10, 4)
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    pruner = pruning.Pruner(model, schedule=Cubic(0, 4, 2), sparsity=0.9, optimizer=optimizer)
    expected = (
        "Pruner(1 weights, step 0, sparsity 0 of 0.9, Unstructured(), "
        "Cubic(begin=0, end=4, every=2))"
    )
    assert repr(pruner) == expected


def test_the_masks_mapping_is_read_only():
    model = small_net()
    pruner = pruning.Pruner(model, sparsity=0.5, optimizer=OPTIMIZERS["SGD"](model.parameters()))
    with pytest.raises(TypeError):
        pruner.masks["0.weight"] = None


# ---- shapes of real training ----


def test_several_parameter_groups():
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


def test_tied_weights_are_pruned_once():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(6, 4)
            self.inner = nn.Linear(4, 4, bias=False)
            self.head = nn.Linear(4, 6, bias=False)
            self.head.weight = self.table.weight
            self.again = nn.Linear(4, 4, bias=False)
            self.again.weight = self.inner.weight

    model = Tied()
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    pruner = pruning.Pruner(model, sparsity=0.5, optimizer=optimizer)
    assert pruner.kept() == {"inner.weight": 8, "head.weight": 12}
    for _ in range(2):
        optimizer.zero_grad()
        model.head(model.again(model.table(torch.arange(6)))).square().sum().backward()
        optimizer.step()
    assert model.head.weight is model.table.weight
    assert int(torch.count_nonzero(model.table.weight)) == 12


def test_weights_that_are_views_of_one_buffer():
    flat = torch.randn(24, generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(nn.Linear(4, 3, bias=False), nn.Linear(3, 4, bias=False))
    model[0].weight = nn.Parameter(flat[:12].view(3, 4))
    model[1].weight = nn.Parameter(flat[12:].view(3, 4).t())
    optimizer = OPTIMIZERS["Adam"](model.parameters())
    pruner = pruning.Pruner(model, sparsity=0.5, optimizer=optimizer)
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.ones(2, 4)).square().sum().backward()
        optimizer.step()
    assert pruner.kept() == {"0.weight": 6, "1.weight": 6}
    assert int(torch.count_nonzero(flat)) == 12


@pytest.mark.parametrize("fused", [False, True])
def test_steps_that_grad_scaler_skips_are_not_counted(fused):
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


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_dtypes(dtype):
    model = nn.Linear(16, 8).to(dtype)
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    pruner = pruning.Pruner(model, sparsity=0.75, optimizer=optimizer)
    model(torch.ones(2, 16, dtype=dtype)).sum().backward()
    optimizer.step()
    assert pruner.kept() == {"weight": 32}
    assert int(torch.count_nonzero(model.weight)) == 32


def test_pruned_weights_are_plus_zero_even_if_they_were_infinite_gradients():
    model = nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[-1.0, -2.0, 3.0, 4.0]]))
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    pruning.Pruner(model, sparsity=0.5, optimizer=optimizer)
    model.weight.grad = torch.tensor([[math.inf, math.nan, 0.0, 0.0]])
    optimizer.step()
    assert model.weight[0, :2].tolist() == [0.0, 0.0]
    assert not bool(model.weight.signbit()[0, :2].any())


# ---- saving and resuming ----


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize("stop", [0, 5, 14])
def test_a_resumed_run_is_bit_equal(kind, stop):
    def build(seed):
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


def test_state_dict_is_a_copy():
    model = small_net()
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    pruner = pruning.Pruner(model, schedule=RAMP, sparsity=0.9, optimizer=optimizer)
    state = pruner.state_dict()
    train(model, optimizer, 12)
    assert state["step"] == 0
    assert all(bool(mask.all()) for mask in state["masks"].values())


def test_a_state_for_another_model_is_refused_and_changes_nothing():
    model, other = small_net(), nn.Linear(3, 3)
    one, two = (
        pruning.Pruner(m, sparsity=0.5, optimizer=OPTIMIZERS["SGD"](m.parameters()))
        for m in (model, other)
    )
    before = two.state_dict()
    with pytest.raises(ValueError, match=r"masks are .*0\.weight.*this model needs .*\(3, 3\)"):
        two.load_state_dict(one.state_dict())
    assert torch.equal(before["masks"]["weight"], two.masks["weight"])


# ---- the one-call form ----


def test_prune_is_the_pure_functions_on_the_model():
    model = small_net()
    weights = {n: model.get_parameter(n).detach().clone() for n in ("0.weight", "4.weight")}
    masks = pruning.prune(model, 0.8, allocation=allocation.global_)
    arrays = scores.magnitude({name: weight.numpy() for name, weight in weights.items()})
    counts = allocation.global_(arrays, 0.8)
    for name, weight in weights.items():
        expected = pruning.prune_mask(arrays[name], counts[name])
        np.testing.assert_array_equal(masks[name].numpy(), expected)
        np.testing.assert_array_equal(
            model.get_parameter(name).detach().numpy(), np.where(expected, weight.numpy(), 0)
        )


def test_prune_to_24():
    model = nn.Linear(8, 4)
    weight = model.weight.detach().clone()
    masks = pruning.prune(model, 0.5, pattern=NM(2, 4))
    groups = weight.abs().reshape(-1, 4)
    smallest_kept = groups.sort(1, descending=True).values[:, 1:2]
    assert torch.equal(masks["weight"].reshape(-1, 4), groups >= smallest_kept)
    assert torch.equal(model.weight.detach(), weight * masks["weight"])


def test_zero_sparsity_prunes_nothing():
    model = small_net()
    assert all(bool(mask.all()) for mask in pruning.prune(model, 0.0).values())


# ---- the package ----


def test_unknown_names_of_the_package():
    with pytest.raises(AttributeError, match="no attribute 'Prunner'"):
        _ = pruning.Prunner


def test_the_package_lists_what_it_offers_and_nothing_else():
    assert dir(pruning) == sorted(pruning.__all__)
    assert {"Pruner", "prune"} <= set(dir(pruning))


def test_torch_comes_with_the_pruner_only():
    program = (
        "import sys; from sparsecore import pruning\n"
        "assert 'torch' not in sys.modules\n"
        "from sparsecore.pruning import Pruner, prune\n"
        "assert 'torch' in sys.modules\n"
        "assert pruning.prune is prune"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
