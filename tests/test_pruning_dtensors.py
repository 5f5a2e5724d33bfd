"""Masks of sharded parameters, on 2 ranks of gloo: torch's own shards, and training under FSDP2."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import dtensor_cases as cases  # noqa: E402
from sparsecore.pruning._arrays import top_of_rows  # noqa: E402


@pytest.mark.parametrize("shape", [(4, 6), (7, 3), (1, 5)])
@pytest.mark.parametrize("placement", ["0", "1", "all"])
def test_parts_are_where_torch_puts_them(ranks, shape, placement):
    found = ranks.run(cases.parts, shape, placement, size=2)
    for rank, (offset, part, expected, shares_memory) in enumerate(found):
        np.testing.assert_array_equal(part, expected)
        assert not shares_memory
        first = [0, 0]
        if placement != "all":
            axis = int(placement)
            first[axis] = rank * -(-shape[axis] // 2)
        assert offset == tuple(first)


@pytest.mark.parametrize("kept", [11, 30])
def test_pruned_training_under_fsdp_is_that_of_one_process(ranks, kept):
    model = cases.network()
    scores = torch.cat([model.get_parameter(name).detach().abs().ravel() for name in cases.WEIGHTS])
    flat = top_of_rows(scores[None], kept)[0].split([42, 7])
    masks = {
        name: mask.reshape(model.get_parameter(name).shape)
        for name, mask in zip(cases.WEIGHTS, flat, strict=True)
    }
    weights, momenta = cases.train(model, cases.batch(), masks)
    for found in ranks.run(cases.fsdp, kept, size=2):
        for name in cases.WEIGHTS:
            np.testing.assert_array_equal(found["masks"][name], masks[name].numpy())
            # Gradients of 8 samples are averaged in another order: a few roundings of float64.
            for what, expected in (("weights", weights), ("momenta", momenta)):
                whole = expected[name].detach().numpy()
                np.testing.assert_allclose(found[what][name], whole, rtol=0, atol=1e-14)
                assert np.all(found[what][name][~masks[name].numpy()] == 0)


@pytest.mark.parametrize(
    ("what", "error", "message"),
    [
        ("kind", TypeError, "local_slices: tensor is a Tensor, expected a DTensor"),
        ("placement", ValueError, "expected Shard(axis) or Replicate()"),
        ("shape", ValueError, "local_mask: mask has shape (3, 4), expected (4, 4)"),
        ("axis", ValueError, "local_blocks: a is placed (Shard(dim=1),)"),
        ("plain", TypeError, "local_blocks: a is a Tensor, expected a DTensor"),
        ("none", ValueError, "local_blocks: tensors is empty"),
        ("part", ValueError, "mask has shape (4, 4), expected (2, 4), the local part's"),
    ],
)
def test_refused(ranks, what, error, message):
    for answer in ranks.run(cases.refused, what, size=2):
        assert type(answer) is error
        assert message in str(answer)
