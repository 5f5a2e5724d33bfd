"""Pruning and compressing in one pass, whatever the length of a row: csrc/cpu/compress24.h."""

import numpy as np
import pytest

import sparsecore as sc
from oracle import DTYPES, F16, F32, F64, FLOATING, I8, bits
from sparse24_cases import compressed_by_hand, two_largest

pytestmark = pytest.mark.usefixtures("target")

# A step takes 64 bytes: 8 to 64 columns.
LENGTHS = (7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 66, 130)
SPECIAL = {
    I8: [0, 0, 1, -1, 5, 127, -127, -128],
    **{key: [0, -0.0, 1, -1, 2, np.inf, -np.inf, np.nan] for key in FLOATING},
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_pruned_and_compressed_at_once(dtype):
    rng = np.random.default_rng(1)
    for k in LENGTHS:
        W = rng.choice(np.array(SPECIAL[dtype]).astype(dtype), (5, k))
        W[0] = rng.integers(-120, 120, k).astype(dtype)
        mask = two_largest(W)
        np.testing.assert_array_equal(sc.prune_24(W), mask, f"k={k}")
        values, metadata = compressed_by_hand(np.where(mask, W, dtype.type(0)))
        for order in "CF":
            S = sc.Sparse24.from_dense(np.asarray(W, order=order), prune=True)
            np.testing.assert_array_equal(bits(S.values), bits(values), f"k={k}, {order}")
            np.testing.assert_array_equal(S.metadata, metadata, f"k={k}, {order}")


def test_the_smallest_and_the_largest_magnitudes():
    """Neighbouring bit patterns, subnormals and the largest numbers, in every place of the four."""
    for dtype in (F64, F32, F16):
        info = np.finfo(dtype)
        tiny, huge = info.smallest_subnormal, info.max
        four = np.array([tiny, -2 * tiny, huge, -np.nextafter(huge, dtype.type(0))], dtype)
        W = np.concatenate([np.roll(four, i) for i in range(4)] * 8)[None]
        kept = np.abs(W) >= 1
        np.testing.assert_array_equal(sc.prune_24(W), kept, str(dtype))
        np.testing.assert_array_equal(
            sc.Sparse24.from_dense(W, prune=True).toarray(), np.where(kept, W, dtype.type(0))
        )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_not_24_far_into_a_row(dtype):
    for k, group in ((130, 0), (130, 17), (130, 31), (128, 31), (131, 32)):
        W = np.zeros((3, k), dtype)
        W[1, 4 * group : 4 * group + 3] = 1
        with pytest.raises(ValueError, match=rf"row 1, group {group} \(columns {4 * group} to "):
            sc.Sparse24.from_dense(W)


def test_gradients_pass_through_pruning():
    torch = pytest.importorskip("torch")
    W = torch.linspace(-1, 1, 96).reshape(2, 48).requires_grad_()
    S = sc.Sparse24.from_dense(W, prune=True)
    assert S.equals(sc.Sparse24.from_dense(W.detach(), prune=True))
    S.values.sum().backward()
    np.testing.assert_array_equal(W.grad.numpy() != 0, sc.prune_24(W.detach().numpy()))
