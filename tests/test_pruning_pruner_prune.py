"""prune: the one-call form, against the pure functions that it stands on."""

from __future__ import annotations

import numpy as np
import pytest

from sparsecore import pruning
from sparsecore.pruning import NM, allocation, scores

torch = pytest.importorskip("torch")
nn = torch.nn

from pruner_cases import small_net  # noqa: E402


def test_prune_is_the_pure_functions_on_the_model() -> None:
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


def test_prune_to_24() -> None:
    model = nn.Linear(8, 4)
    weight = model.weight.detach().clone()
    masks = pruning.prune(model, 0.5, pattern=NM(2, 4))
    groups = weight.abs().reshape(-1, 4)
    smallest_kept = groups.sort(1, descending=True).values[:, 1:2]
    assert torch.equal(masks["weight"].reshape(-1, 4), groups >= smallest_kept)
    assert torch.equal(model.weight.detach(), weight * masks["weight"])


def test_zero_sparsity_prunes_nothing() -> None:
    model = small_net()
    assert all(bool(mask.all()) for mask in pruning.prune(model, 0.0).values())


def test_controls_keep_the_counts_or_the_masks() -> None:
    found, shuffled, anew = small_net(), small_net(), small_net()
    before = {name: p.detach().clone() for name, p in found.named_parameters()}
    options = {"allocation": allocation.global_}
    masks = pruning.prune(found, 0.8, **options)
    generators = [torch.Generator().manual_seed(3) for _ in range(3)]
    others = pruning.prune(shuffled, 0.8, control="shuffle", generator=generators[0], **options)
    expected = pruning.shuffle_layerwise(masks, generator=generators[1])
    for name, mask in expected.items():
        assert torch.equal(others[name], mask)
        assert not torch.equal(mask, masks[name])
        assert torch.equal(shuffled.get_parameter(name), before[name] * mask)
    same = pruning.prune(anew, 0.8, control="reinitialize", generator=generators[2], **options)
    for name, mask in masks.items():
        assert torch.equal(same[name], mask)
        assert torch.equal(anew.get_parameter(name) != 0, mask)
        assert not torch.equal(anew.get_parameter(name), before[name] * mask)


def test_controls_without_meaning_are_refused() -> None:
    model = small_net()
    before = model[0].weight.detach().clone()
    with pytest.raises(ValueError, match="control is 'both', expected one of"):
        pruning.prune(model, 0.8, control="both")
    with pytest.raises(ValueError, match="generator is given without control="):
        pruning.prune(model, 0.8, generator=torch.Generator())
    with pytest.raises(TypeError, match="prune: generator is int"):
        pruning.prune(model, 0.8, control="shuffle", generator=3)
    assert torch.equal(model[0].weight, before)
