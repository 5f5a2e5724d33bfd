"""2:4: choosing, compressing and multiplying (csrc/cpu/compress24.h, csrc/plans/row_sweep.cpp)."""

import itertools
import math

import numpy as np
import pytest

import cases
import product_cases as products
import sparsecore as sc
from cases import FLOAT_MIXES, MIXES, SAME, Mix
from golden import golden
from oracle import BF16, DTYPES, F16, F32, FLOATING, I8
from sparse24_cases import two_largest

pytestmark = pytest.mark.usefixtures("target")

# Masks written in column order. Under-full groups follow torch's conversion, which is fixed by
# formats' canonical layout; CUTLASS's Python utility differs for 1000 and 0100.
NIBBLES = {
    "1100": 0x4,
    "1010": 0x8,
    "1001": 0xC,
    "0110": 0x9,
    "0101": 0xD,
    "0011": 0xE,
    "0000": 0xE,
    "1000": 0x8,
    "0100": 0x9,
    "0010": 0xE,
    "0001": 0xE,
}


# ---- products ----


@pytest.mark.parametrize("mix", MIXES, ids=str)
def test_shapes_and_layouts(mix):
    products.check_shapes_and_layouts(cases.sparse24, mix)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_width(dtype):
    products.check_every_width(cases.sparse24, dtype)


@pytest.mark.parametrize("mix", [*SAME, Mix(F16, F32), Mix(I8, F32, scaled=True)], ids=str)
def test_long_rows(mix):
    products.check_long_rows(cases.sparse24, mix)


@pytest.mark.parametrize("mix", FLOAT_MIXES, ids=str)
def test_nan_and_infinity_reach_only_rows_with_that_slot(mix):
    """A slot that holds a zero multiplies as IEEE says; a slot in the padding never does."""
    products.check_poison(cases.sparse24, mix)


def test_int8_sums_are_exact_or_raise():
    products.check_int8_limit(cases.sparse24, entries_per_group=2, group=4)


@pytest.mark.parametrize("k", range(1, 18))
def test_every_slot_of_every_width(k):
    """Any valid nibbles, with NaN in each row of X in turn, for every tail of k."""
    rng = np.random.default_rng(k)
    m, groups = 12, -(-k // 4)
    metadata = rng.choice([4, 8, 12, 9, 13, 14], (m, 2 * -(-k // 8))).astype(np.uint8)
    metadata = (metadata[:, ::2] | metadata[:, 1::2] << 4).astype(np.uint8)
    stored = cases.slots(metadata, 4 * groups)
    dense = np.where(stored, cases.numbers(rng, stored.shape, F32), F32.type(0))
    dense[:, k:] = 0
    values = dense[stored].reshape(m, 2 * groups)
    S = sc.Sparse24((values, metadata), (m, k))
    operand = cases.Operand(S, dense[:, :k].astype(np.float64), stored[:, :k])
    for n in (1, 3, 16):
        X = cases.numbers(rng, (k, n), F32)
        clean = products.check_product(operand, X, Mix(F32, F32), rng, f"n={n}")
        for row in range(k):
            poisoned = X.copy()
            poisoned[row] = np.nan
            wanted = products.poisoned(operand, row, np.nan, clean)
            np.testing.assert_array_equal(S @ poisoned, wanted.astype(F32), f"n={n}, row {row}")


# ---- choosing ----


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_prune_keeps_the_two_largest_of_four(dtype):
    special = [0, 1, -1, 127, -127, -128] if dtype == I8 else [0, -0.0, 1, -1, 2, np.inf, np.nan]
    W = np.array(list(itertools.product(special, repeat=4))).astype(dtype)
    for layout in ("C", "F", "strided", "negative", "misaligned", "read-only"):
        mask = sc.prune_24(cases.laid_out(W, layout))
        assert mask.dtype == np.bool_
        np.testing.assert_array_equal(mask, two_largest(W), layout)


def test_prune_tails_and_ranks():
    rng = np.random.default_rng(8)
    for k in range(12):
        for lead in ((), (0,), (3,), (2, 3), (1, 2, 2)):
            W = rng.standard_normal((*lead, k))
            mask = sc.prune_24(W)
            wanted = two_largest(W.reshape(math.prod(lead), k)).reshape(W.shape)
            np.testing.assert_array_equal(mask, wanted, f"{lead}, k={k}")
            tail = mask[..., k - k % 4 :]
            assert (tail.sum(axis=-1) == min(k % 4, 2)).all(), "a tail of t < 4 keeps min(t, 2)"


def test_prune_ties_keep_the_lowest_index():
    assert sc.prune_24(np.ones(8)).tolist() == [True, True, False, False] * 2
    assert sc.prune_24(np.array([0.0, -0.0, 0.0, 0.0])).tolist() == [True, True, False, False]


def test_prune_golden_scores():
    entry = golden("jaxpruner.nm24.SCORE_1")
    mask = sc.prune_24(np.array(entry["input"]["score"]))
    assert mask.astype(int).tolist() == entry["expected"]


# ---- compressing ----


def test_every_pattern_has_its_nibble():
    for pattern, nibble in NIBBLES.items():
        group = np.array([int(digit) * (i + 5.0) for i, digit in enumerate(pattern)])
        for padded in (group[None], np.concatenate([np.zeros(4), group])[None]):
            S = sc.Sparse24.from_dense(padded)
            shift = 4 * (padded.shape[1] // 4 - 1)
            assert S.metadata[0, 0] >> shift & 15 == nibble, pattern
            np.testing.assert_array_equal(S.toarray(), padded, pattern)


def test_golden_nibbles_of_full_groups():
    """CUTLASS's table; its under-full groups are padded otherwise, but read back the same."""
    for pattern, nibble in golden("24.nibble_table")["expected"].items():
        group = np.array([[float(digit) for digit in pattern]])
        if pattern.count("1") == 2:
            assert sc.Sparse24.from_dense(group).metadata[0, 0] & 15 == nibble, pattern
        stored = np.zeros(4, dtype=bool)
        stored[[nibble & 3, nibble >> 2]] = True
        S = sc.Sparse24((group[:, stored], np.array([[nibble | 0xE0]], np.uint8)), (1, 4))
        np.testing.assert_array_equal(S.toarray(), group, pattern)


def test_golden_torch_metadata():
    entry = golden("24.torch_doc")
    S = sc.Sparse24.from_dense(np.tile(np.array([0, 0, 1, 1], np.float16), (128, 32)))
    words = S.metadata.view("<i2")
    assert list(words.shape) == entry["expected"]["shape_meta"]
    assert (words == entry["expected"]["metadata_int16"]).all()
    assert S.values.shape == (128, 64)
    assert (S.values == 1).all()


@pytest.mark.parametrize("dtype", [F16, BF16, I8], ids=str)
def test_bytes_equal_torchs_conversion(dtype):
    """Random under-full and full groups against sparse_semi_structured_from_dense_cutlass."""
    torch = pytest.importorskip("torch")
    conversions = pytest.importorskip("torch.sparse._semi_structured_conversions")
    rng = np.random.default_rng(9)
    W = cases.random_dense(rng, (64, 256), 0.4, dtype)
    operand = cases.sparse24(W)
    dense = operand.matrix.toarray()
    tensor = sc.interop.as_tensor(dense)
    values, shuffled = conversions.sparse_semi_structured_from_dense_cutlass(tensor)
    m, words = shuffled.shape
    place = conversions._calculate_meta_reordering_scatter_offsets(
        m, words, shuffled.dtype, torch.device("cpu")
    )
    metadata = shuffled.reshape(-1)[place].reshape(m, words).numpy().view(np.uint8)
    np.testing.assert_array_equal(operand.matrix.metadata, metadata)
    np.testing.assert_array_equal(operand.matrix.values, sc.interop.to_numpy(values, name="values"))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_prune_then_compress_gives_the_pruned_matrix(dtype):
    rng = np.random.default_rng(10)
    for m, k in ((1, 1), (3, 7), (5, 8), (4, 30), (17, 65), (0, 8), (3, 0)):
        W = cases.numbers(rng, (m, k), dtype)
        for layout in ("C", "F", "strided", "negative", "misaligned"):
            laid = cases.laid_out(W, layout)
            S = sc.Sparse24.from_dense(laid, prune=True)
            wanted = np.where(sc.prune_24(laid), W, dtype.type(0))
            np.testing.assert_array_equal(S.toarray(), wanted, f"{m}x{k}, {layout}")


def test_negative_zero_is_a_zero_and_nan_is_not():
    for dtype in FLOATING:
        W = np.array([[-0.0, 1, -0.0, 2], [np.nan, 0, 3, -0.0]], dtype)
        S = sc.Sparse24.from_dense(W)
        assert S.metadata[:, 0].tolist() == [0xED, 0xE8]
        W[0, 0] = np.nan
        with pytest.raises(ValueError, match=r"row 0, group 0 "):
            sc.Sparse24.from_dense(W)


def test_not_24_names_row_and_group():
    W = np.zeros((300, 40), np.float32)
    W[[217, 250], 20:23] = 1
    with pytest.raises(ValueError, match=r"row 217, group 5 \(columns 20 to 23\)"):
        sc.Sparse24.from_dense(W)
