"""Blocks pruned one after the other, against the whole model run anew for each of them."""

from __future__ import annotations

import copy
from typing import Any

import pytest

torch = pytest.importorskip("torch")
nn = torch.nn

from language_model_cases import GPT, one_thread  # noqa: E402, F401
from sparsecore.pruning import NM, Unstructured, prune_blocks, scores, token_batches  # noqa: E402
from sparsecore.pruning.blockwise.activations import activations  # noqa: E402
from sparsecore.pruning.blockwise.layers import best_of_rows  # noqa: E402

LENGTH = 12


def small_gpt() -> Any:
    torch.manual_seed(2)
    return GPT(40, 16, 3, heads=2).double()


def batches(count: int = 3) -> list[Any]:
    text = torch.randint(40, (500,), generator=torch.Generator().manual_seed(3))
    windows = token_batches(text, sequence_length=LENGTH, count=2 * count)
    return [torch.cat(windows[i : i + 2]) for i in range(0, 2 * count, 2)]


def pruned_by_whole_runs(model: Any, method: str, pattern: Unstructured | NM) -> None:
    """Run all of the model up to each block, with hooks; prune by what the layers got."""
    for block in model.h:
        linear = {n: m for n, m in block.named_modules() if isinstance(m, nn.Linear)}
        seen: dict[str, list[Any]] = {name: [] for name in linear}
        hooks = [
            layer.register_forward_hook(
                lambda _, args, __, to=seen[name]: to.append(args[0].flatten(0, 1))
            )
            for name, layer in linear.items()
        ]
        with torch.no_grad():
            for batch in batches():
                model(batch)
            for name, layer in linear.items():
                X = torch.cat(seen[name]).T
                if method == "sparsegpt":
                    H = 2 * X @ X.T / X.shape[1]
                    _, new = scores.sparsegpt(
                        {"w": layer.weight}, hessians={"w": H}, sparsity=0.5, pattern=pattern
                    )
                    layer.weight.copy_(new["w"])
                else:
                    score = layer.weight.abs() * X.square().sum(1).sqrt()
                    group = 4 if pattern == NM(2, 4) else score.shape[1]
                    ranks = score.view(-1, group).argsort(-1, descending=True).argsort(-1)
                    layer.weight.mul_((ranks < group // 2).view_as(layer.weight))
        for hook in hooks:
            hook.remove()


@pytest.mark.parametrize("spilled", [False, True])
@pytest.mark.parametrize("pattern", [Unstructured(), NM(2, 4)])
@pytest.mark.parametrize("method", ["sparsegpt", "wanda"])
def test_each_block_is_pruned_by_what_the_pruned_ones_before_give_it(
    method, pattern, spilled, tmp_path
):
    model, expected = small_gpt(), small_gpt()
    model.train()
    state = torch.get_rng_state()
    layers = prune_blocks(
        model,
        iter(batches()),
        blocks="h",
        sparsity=0.5,
        method=method,
        pattern=pattern,
        sequence_length=LENGTH,
        spill=tmp_path / "spill" if spilled else None,
    )
    assert torch.equal(torch.get_rng_state(), state)
    pruned_by_whole_runs(expected, method, pattern)
    for name, weight in expected.named_parameters():
        torch.testing.assert_close(model.get_parameter(name), weight, rtol=1e-8, atol=1e-10)
    assert [layer.name for layer in layers[:2]] == ["h.0.query.weight", "h.0.key.weight"]
    assert len(layers) == 18
    for layer in layers:
        weight = model.get_parameter(layer.name)
        assert (layer.shape, layer.kept) == (weight.shape, int(weight.count_nonzero()))
    assert all(module.training for module in model.modules())
    assert not any(m._forward_pre_hooks or "forward" in vars(m) for m in model.modules())
    assert not spilled or not list((tmp_path / "spill").iterdir())


def test_magnitude_needs_no_batches_and_where_narrows():
    model = small_gpt()
    before = copy.deepcopy(model.state_dict())
    layers = prune_blocks(
        model, blocks="h", sparsity=0.3, method="magnitude", where=lambda name, _: "grow" in name
    )
    assert [layer.name for layer in layers] == [f"h.{i}.grow.weight" for i in range(3)]
    for name, weight in model.state_dict().items():
        if "grow.weight" not in name:
            assert torch.equal(weight, before[name])
            continue
        least = before[name].abs().flatten().sort().values[round(0.3 * weight.numel())]
        assert torch.equal(weight, before[name] * (before[name].abs() >= least))


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.61])
def test_rows_share_what_is_kept(sparsity):
    mask = best_of_rows(torch.rand(7, 11), sparsity)
    counts = mask.sum(1)
    assert int(counts.sum()) == 77 - round(sparsity * 77)
    assert int(counts.max() - counts.min()) <= 1
    assert counts.tolist() == sorted(counts.tolist(), reverse=True)


def test_spilled_states_that_were_read_stay_when_others_take_their_place(tmp_path):
    for folder in (None, tmp_path):
        with activations(folder) as held:
            for x in (torch.randn(3, 5), torch.zeros(2, 0, 4), torch.ones(1, dtype=torch.bfloat16)):
                held.append(x)
                read = held[len(held) - 1]
                held[len(held) - 1] = x + 1
                assert read.dtype == x.dtype
                assert torch.equal(read, x)
                assert torch.equal(held[len(held) - 1], x + 1)
            assert len(held) == 3


def test_a_weight_that_two_blocks_share_is_pruned_once_by_the_inputs_of_the_first():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)))
    alone = copy.deepcopy(model)
    model[0][1].weight = model[0][0].weight
    x, options = torch.randn(2, 3, 8), {"blocks": "0", "sparsity": 0.5, "sequence_length": 3}
    found = prune_blocks(model, [x], **options)
    assert [layer.name for layer in found] == ["0.0.weight"]
    prune_blocks(alone, [x], **options)
    assert torch.equal(model[0][1].weight, alone[0][0].weight)
