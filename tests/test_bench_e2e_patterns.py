"""Pruned networks: exact counts, ends that stay dense, 2:4 by input channels, multiplications."""

import pytest

pytest.importorskip("torch")

import torch

from e2e_cases import TINY
from sparsecore.bench.e2e.macs import count_macs, positions
from sparsecore.bench.e2e.patterns import is_24_possible, prunable, prune_
from sparsecore.bench.e2e.variants import planned
from sparsecore.bench.models.weights import seeded

# Of Tiny's prunable layers: 8 x 1 x 3 x 3, 16 x 8 x 3 x 3, 32 x 16.
SIZES = {"depthwise": 72, "conv": 1152, "hidden": 512}


def network() -> torch.nn.Module:
    return seeded(TINY.build, torch.Generator().manual_seed(0))


def nonzeros(model: torch.nn.Module) -> dict[str, int]:
    layers = prunable(model, ())
    return {name: int(torch.count_nonzero(layer.weight)) for name, layer in layers.items()}


@pytest.mark.parametrize("pattern", ["uniform", "erk", "global"])
@pytest.mark.parametrize("sparsity", [50.0, 90.0])
def test_as_many_weights_are_zero_as_asked_for(pattern: str, sparsity: float) -> None:
    model = network()
    prune_(model, pattern, sparsity, TINY.ends)
    found = nonzeros(model)
    total = sum(SIZES.values())
    assert sum(found[name] for name in SIZES) == total - round(sparsity / 100 * total)
    assert (found["stem"], found["head"]) == (8 * 27, 5 * 32)


def test_a_uniform_pattern_has_the_sparsity_in_every_layer() -> None:
    model = network()
    prune_(model, "uniform", 75.0, TINY.ends)
    found = nonzeros(model)
    assert {name: found[name] for name in SIZES} == {n: size // 4 for n, size in SIZES.items()}


def test_a_global_pattern_keeps_the_largest_weights_of_all() -> None:
    model = network()
    before = torch.cat([layer.weight.flatten() for layer in prunable(model, TINY.ends).values()])
    prune_(model, "global", 90.0, TINY.ends)
    after = torch.cat([layer.weight.flatten() for layer in prunable(model, TINY.ends).values()])
    assert before[after != 0].abs().min() > before[after == 0].abs().max()


def test_2_to_4_keeps_two_of_four_input_channels_and_leaves_depthwise_dense() -> None:
    model = network()
    prune_(model, "2:4", 50.0, TINY.ends)
    groups = model.conv.weight.movedim(1, -1).reshape(-1, 4)
    assert torch.equal((groups != 0).sum(1), torch.full((1152 // 4,), 2))
    assert torch.equal((model.hidden.weight.reshape(-1, 4) != 0).sum(1), torch.full((128,), 2))
    assert not is_24_possible(model.depthwise)
    assert nonzeros(model)["depthwise"] == 72


def test_2_to_4_is_measured_once_and_others_at_every_sparsity() -> None:
    fp32 = [("uniform", 50.0, None), ("uniform", 90.0, None), ("2:4", 50.0, None)]
    assert planned(("uniform", "2:4"), (50.0, 90.0)) == fp32
    stored = [("uniform", 50.0, "int8"), ("uniform", 90.0, "int8")]
    assert planned(("uniform", "2:4"), (50.0, 90.0), ("int8",)) == fp32 + stored


def test_multiplications_counted_by_hand() -> None:
    model = network()
    prune_(model, "uniform", 75.0, TINY.ends)
    uses = positions(model, TINY.inputs(2, torch.Generator()))
    # Two images of 6 x 6 pixels, 3 x 3 after the stride.
    assert uses == {"stem": 72, "depthwise": 72, "conv": 18, "hidden": 2, "head": 2}
    weights = {name: layer.weight for name, layer in prunable(model, ()).items()}
    macs = count_macs(uses, weights, SIZES, {"hidden"})
    ends = 72 * 216 + 2 * 160
    inner = 72 * 72 + 18 * 1152 + 2 * 512
    assert (macs.total, macs.prunable) == (ends + inner, inner)
    assert macs.kept == ends + inner // 4
    assert macs.sparse_share == 2 * 512 / inner
    assert macs.bound == (ends + inner) / (ends + inner // 4)


def test_counting_leaves_no_hooks() -> None:
    model = network()
    positions(model, TINY.inputs(1, torch.Generator()))
    assert not any(module._forward_hooks for module in model.modules())
