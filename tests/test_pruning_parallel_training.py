"""Pruned training on several ranks: resumed, killed, refused; and calibration spread over them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")
if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
    pytest.skip("torch is built without torch.distributed and gloo", allow_module_level=True)

import parallel_training_cases as cases  # noqa: E402
from parallel_refusal_cases import refused  # noqa: E402
from ranks import Ranks  # noqa: E402


def assert_equal(found, expected):
    for what, name in itertools.product(("masks", "weights", "momenta"), cases.NAMES):
        np.testing.assert_array_equal(found[what][name], expected[what][name])


@pytest.mark.parametrize("driver", ["Pruner", "RigL"])
@pytest.mark.parametrize("kind", ["DDP", "FSDP2"])
def test_a_run_resumes_from_its_checkpoint(ranks, tmp_path, kind, driver):
    found = ranks.run(cases.resumed, kind, driver, tmp_path, size=2)
    for through, resumed in found:
        assert_equal(through, found[0][0])
        assert_equal(resumed, through)
        sparsity = 0.7 if driver == "Pruner" else 0.5
        kept = sum(int(mask.sum()) for mask in through["masks"].values())
        assert kept == 225 - round(sparsity * 225)


def test_a_killed_rank_ends_the_job_which_resumes(tmp_path):
    through, broken = tmp_path / "through", tmp_path / "broken"
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (through, broken, first, second):
        folder.mkdir()
    ranks = Ranks(2, first)
    try:
        expected = ranks.run(cases.killed, through, None, size=2)
        ranks.start(cases.killed, 2, broken, 1, ranks=[0, 1])
        (survivor,) = ranks.results(ranks=[0])
        assert isinstance(survivor, RuntimeError), survivor
        ranks.processes[1].join(timeout=5)
        assert ranks.processes[1].exitcode == -9
    finally:
        ranks.close()
    ranks = Ranks(2, second)
    try:
        found = ranks.run(cases.killed, broken, None, size=2)
    finally:
        ranks.close()
    for (began, state), (_, whole) in zip(found, expected, strict=True):
        assert began == cases.SAVED
        assert_equal(state, whole)


def test_weights_that_a_forward_has_gathered_are_sharded_again(ranks):
    alone = torch.cat([p.detach().abs().ravel() for p in cases.network().parameters()])
    kept = (alone >= alone.sort().values[-113]).numpy()
    assert kept.sum() == 225 - round(0.5 * 225) == 113
    for found in ranks.run(cases.after_evaluation, size=2):
        masks = np.concatenate([found[name].ravel() for name in cases.NAMES])
        np.testing.assert_array_equal(masks, kept)


def test_rounds_that_go_back_are_those_of_one_process(ranks):
    masks, weights = cases.rewound(0, None)
    for found_masks, found in ranks.run(cases.rewound, size=2):
        for name, weight in weights.items():
            np.testing.assert_array_equal(found_masks[name], masks[name])
            # Some steps on means of 8 samples in float64, in another order.
            np.testing.assert_allclose(found[name], weight, rtol=0, atol=1e-13)


def test_scores_of_a_sharded_model_leave_it_as_it_was(ranks):
    for found in ranks.run(cases.snip_leaves_the_model, size=2):
        assert found == dict.fromkeys(("tensors", "gradients", "modes", "random"), True)


@pytest.mark.parametrize("method", ["wanda", "sparsegpt"])
def test_calibration_batches_spread_over_ranks(ranks, method):
    draw = torch.Generator().manual_seed(3)
    texts = [torch.randint(40, (n, 12), generator=draw) for n in (2, 3, 4)]
    alone = cases.blocks(0, None, method, texts)
    first, second = ranks.run(cases.blocks, method, texts, size=2)
    for name, weight in alone.items():
        np.testing.assert_array_equal(first[name], second[name])
        np.testing.assert_array_equal(first[name] == 0, weight == 0)
        # Sums of 108 float64 terms; a damped Hessian of 64 inputs has a condition below 10^5.
        np.testing.assert_allclose(first[name], weight, rtol=0, atol=1e-9)
    assert not np.array_equal(cases.blocks(0, None, method, texts[:2])[name], alone[name]) or (
        name.endswith("bias")
    )


@pytest.mark.parametrize(
    ("what", "error", "message"),
    [
        ("weights", RuntimeError, "prune: masks of 2.weight differ between ranks; expected the sa"),
        ("unreduced", RuntimeError, "prune: masks of 0.weight, 2.weight differ between ranks"),
        ("generators", RuntimeError, "random: the states of generator differ between ranks"),
        ("no batches", ValueError, "batches is empty, expected at least one batch"),
        ("FSDP1", TypeError, "prune: model has a FullyShardedDataParallel, which flattens"),
        ("text", ValueError, "batch 0 reaches the first block as hidden states of shape (1, 13"),
        ("lamp", ValueError, "lamp: '0.weight' is sharded over ranks, and its sums run over a"),
        ("taylor", ValueError, "taylor: '0.weight' is sharded over ranks, and it takes deriv"),
        ("pattern", ValueError, "Block(r=1, c=3) groups entries of '0.weight' that lie on several"),
        ("axis", ValueError, "prune: NM(n=1, m=2, axis=0) groups entries"),
        ("columns", ValueError, "prune: Unstructured(axis=1) groups entries"),
        ("allocation", ValueError, "<lambda> takes whole scores, which no rank has"),
        ("rounds", ValueError, "snip: '0.weight' is sharded, and not the model's own parameter"),
        ("uneven", ValueError, "snip: rank 0 has 2 batches, others have more"),
        ("NaN", ValueError, "score of 0.weight has "),
        ("whole", ValueError, "prune: score: 0.weight got scores placed Tensor, expected a DTens"),
        ("SET", ValueError, "SET: 0.weight, 2.weight sharded over ranks, and whole weights"),
    ],
)
def test_refused_on_every_rank(ranks, what, error, message):
    for answer in ranks.run(refused, what, size=2):
        assert type(answer) is error, answer
        assert message in str(answer)
