"""Masks under DDP and FSDP2, on 2 and 4 ranks of gloo, against those of one process.

Bit-equal on all ranks. Where sums are taken in another order, masks may differ from one process's
where a score lies within the rounding error of the threshold, and nowhere else. That error is
``gamma(n) = n u / (1 - n u)`` times the sum of absolute terms, n being the roundings behind a score
and u those of float32 (Higham, "Accuracy and Stability of Numerical Algorithms", section 3.1).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
    pytest.skip("torch is built without torch.distributed and gloo", allow_module_level=True)

import parallel_pruning_cases as cases  # noqa: E402
import sharded_selection_cases as shards  # noqa: E402

KINDS = ["DDP", "FSDP2"]
RANKS = [2, 4]
# Of one score: its products' sums along a hidden and an output axis and over a batch, six for each
# batch's part in the running mean and twelve for ranks, weights and the normalisation.
ROUNDINGS = cases.INPUTS + cases.OUTPUTS + max(*cases.SIZES, 16) + 6 * len(cases.SIZES) + 12


def gamma(n: int) -> float:
    unit = float(np.finfo(np.float32).eps) / 2
    return n * unit / (1 - n * unit)


def exact(x: Any, y: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return gradients of a batch in float64, and the sums of their absolute terms."""
    W1, W2 = (W.detach().double().numpy() for W in cases.network().parameters())
    X, T = x.double().numpy(), y.double().numpy()
    H = X @ W1.T
    # No rounding turns a unit on or off.
    assert (abs(H) > gamma(cases.INPUTS) * (abs(X) @ abs(W1).T)).all()
    on, A = H > 0, abs(X) @ abs(W1).T
    gradient = {"0.weight": ((T @ W2) * on).T @ X, "2.weight": T.T @ (H * on)}
    absolute = {"0.weight": (abs(T) @ abs(W2)).T @ abs(X), "2.weight": abs(T).T @ A}
    return tuple({n: g / len(X) for n, g in part.items()} for part in (gradient, absolute))  # type: ignore[return-value]


def check_close_to(masks: Any, expected: Any, score: Any, error: Any, kept: int) -> None:
    """Masks of `kept` of some scores differ only where a score may have crossed the threshold."""
    assert masks.sum() == expected.sum() == kept
    threshold = np.sort(score, axis=None)[-kept]
    differing = masks != expected
    assert (abs(score - threshold)[differing] <= (error + error.max())[differing]).all()


def same_on_all(ranks: Any, function: Any, *arguments: Any, size: int) -> dict[str, Any]:
    first, *others = ranks.run(function, *arguments, size=size)
    for other in others:
        assert isinstance(other, dict), other
        assert list(other) == list(first) == list(cases.NAMES)
        assert all(np.array_equal(first[name], other[name]) for name in first)
    return first


@pytest.mark.parametrize("size", RANKS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["magnitude", "uniform", "rows", "2:4", "random"])
def test_without_data_masks_are_those_of_one_process(ranks, kind, size, method):
    found = same_on_all(ranks, cases.pruned, kind, method, size=size)
    alone = cases.pruned(0, None, "alone", method)
    assert all(np.array_equal(found[name], alone[name]) for name in cases.NAMES)


@pytest.mark.parametrize("size", RANKS)
@pytest.mark.parametrize("kind", KINDS)
def test_snip(ranks, kind, size):
    found = same_on_all(ranks, cases.pruned, kind, "snip", size=size)
    alone = cases.pruned(0, None, "alone", "snip")
    terms = [exact(x, y) for x, y in cases.batches()]
    shares = np.array(cases.SIZES) / sum(cases.SIZES)
    score, error = [], []
    for name, weight in cases.network().named_parameters():
        w = abs(weight.detach().double().numpy())
        mean = sum(share * g[name] for share, (g, _) in zip(shares, terms, strict=True))
        most = np.max([absolute[name] for _, absolute in terms], axis=0)
        score.append(abs(mean * w).ravel())
        error.append((gamma(ROUNDINGS) * most * w).ravel())
    flat = [np.concatenate([m[n].ravel() for n in cases.NAMES]) for m in (found, alone)]
    size_of_all = len(flat[0])
    kept = size_of_all - round(0.6 * size_of_all)
    check_close_to(*flat, np.concatenate(score), np.concatenate(error), kept)


@pytest.mark.parametrize("size", RANKS)
@pytest.mark.parametrize("kind", KINDS)
def test_wanda(ranks, kind, size):
    found = same_on_all(ranks, cases.pruned, kind, "wanda", size=size)
    alone = cases.pruned(0, None, "alone", "wanda")
    W1, W2 = (W.detach().double().numpy() for W in cases.network().parameters())
    X = torch.cat([x for x, _ in cases.batches()]).double().numpy()
    hidden, error_of_hidden = np.maximum(X @ W1.T, 0), gamma(cases.INPUTS) * (abs(X) @ abs(W1).T)
    inputs = {"0.weight": (W1, X, 0 * X), "2.weight": (W2, hidden, error_of_hidden)}
    for name, (W, x, off) in inputs.items():
        # A norm moves by at most the norm of what is added; sums of squares have no cancellation.
        norm, moved = (np.sqrt((part**2).sum(0)) for part in (x, off))
        error = abs(W) * (moved + gamma(len(X) + 4) * (norm + moved))
        for row in range(len(W)):
            masks = (found[name][row], alone[name][row])
            kept = int(masks[1].sum())
            check_close_to(*masks, abs(W[row]) * norm, error[row], kept)
        assert set(found[name].sum(1).tolist()) <= {kept, kept + 1}


@pytest.mark.parametrize("size", RANKS)
@pytest.mark.parametrize("kind", KINDS)
def test_rigl(ranks, kind, size):
    found = same_on_all(ranks, cases.rigl, kind, size=size)
    alone = cases.rigl(0, None, "alone")
    ((x, y),) = cases.batches((16,))
    gradient, absolute = exact(x, y)
    before = {name: mask.numpy() for name, mask in cases.initial_masks().items()}
    for name, mask in alone.items():
        assert not np.array_equal(mask, before[name])
        # What stays is decided by magnitudes alone; what comes, by gradients outside of it.
        weight = cases.network().get_parameter(name).detach().numpy()
        moved = int(np.floor(0.15 * (1 + np.cos(np.pi * 2 / 7.5)) * before[name].sum()))
        magnitudes = np.where(before[name], abs(weight), -1)
        least = np.sort(magnitudes, axis=None)[-(before[name].sum() - moved)]
        outside = magnitudes < least
        assert found[name][~outside].all()
        assert mask[~outside].all()
        check_close_to(
            found[name][outside],
            mask[outside],
            abs(gradient[name][outside]),
            (gamma(ROUNDINGS) * absolute[name])[outside],
            moved,
        )


@pytest.mark.parametrize("size", RANKS)
def test_ties_of_shards_move_as_those_of_one_process(ranks, size):
    expected = shards.moved(0, None)["mask"]
    for found in ranks.run(shards.moved, size=size):
        np.testing.assert_array_equal(found["mask"], expected)


@pytest.mark.parametrize("method", ["magnitude", "uniform", "rows"])
def test_no_message_has_the_size_of_a_score(ranks, method):
    for selecting, gathering in ranks.run(shards.messages, method, size=2):
        assert 0 < selecting <= 256  # the counts of a digit
        assert gathering >= 64 * 40 / 2


def test_scores_are_those_of_all_batches_together(ranks):
    alone = cases.reduced_scores(0, None)
    for found in ranks.run(cases.reduced_scores, size=2):
        for score, expected in alone.items():
            for name in cases.NAMES:
                # float64, fewer than 2000 terms, no cancellation of more than 10^4.
                np.testing.assert_allclose(found[score][name], expected[name], rtol=1e-9)
