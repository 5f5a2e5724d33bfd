"""2:4: the canonical layout against its published table and torch, round trips, bad input."""

import copy
import pickle

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import sparsecore as sc
from golden import golden
from sparsecore.interop import VALUE_DTYPES

DTYPES = list(VALUE_DTYPES.values())
ON_EACH_TARGET = pytest.mark.usefixtures("target")
EXAMPLES_SHARE_IT = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
# Design table of the canonical layout: groups with fewer than two non-zeros follow torch.
NIBBLES = {
    (1, 1, 0, 0): 0x4,
    (1, 0, 1, 0): 0x8,
    (1, 0, 0, 1): 0xC,
    (0, 1, 1, 0): 0x9,
    (0, 1, 0, 1): 0xD,
    (0, 0, 1, 1): 0xE,
    (0, 0, 0, 0): 0xE,
    (1, 0, 0, 0): 0x8,
    (0, 1, 0, 0): 0x9,
    (0, 0, 1, 0): 0xE,
    (0, 0, 0, 1): 0xE,
}


def ceil(a: int, b: int) -> int:
    return -(-a // b)


def bits(array) -> np.ndarray:
    array = np.ascontiguousarray(array)
    return array.view(f"u{array.dtype.itemsize}")


def compressed_by_hand(W: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return values and metadata, group by group out of the table."""
    m, k = W.shape
    padded = np.zeros((m, ceil(k, 8) * 8), W.dtype)
    padded[:, :k] = W
    values = np.zeros((m, ceil(k, 4) * 2), W.dtype)
    metadata = np.zeros((m, ceil(k, 8)), np.uint8)
    for row in range(m):
        for group in range(ceil(k, 8) * 2):
            four = padded[row, 4 * group : 4 * group + 4]
            nibble = NIBBLES[tuple((four != 0).astype(int).tolist())]
            metadata[row, group // 2] |= nibble << (4 * (group % 2))
            for slot, place in enumerate((nibble & 3, nibble >> 2)):
                if four[place] != 0:
                    values[row, 2 * group + slot] = four[place]
    return values, metadata


@st.composite
def dense_24(draw):
    """Draw a 2:4 matrix of any dtype, any k, zeros of both signs, in C or F order."""
    m, k = draw(st.integers(0, 5)), draw(st.integers(0, 21))
    dtype = draw(st.sampled_from(DTYPES))
    numbers = [-127.0, 2.0, 96.0] if dtype == np.int8 else [-127.0, 0.5, np.nan, np.inf]
    W = np.full((m, ceil(k, 4) * 4), draw(st.sampled_from([0.0, -0.0])))
    for row in range(m):
        for group in range(ceil(k, 4)):
            pattern = draw(st.sampled_from(list(NIBBLES)))
            for place in np.flatnonzero(pattern):
                W[row, 4 * group + place] = draw(st.sampled_from(numbers))
    return np.asarray(W[:, :k].astype(dtype), order=draw(st.sampled_from("CF")))


def eight(dtype=np.float32) -> np.ndarray:
    return np.array([[1, 0, 0, 2, 0, 3, 4, 0], [0, 0, 0, 5, 0, 0, 0, 0]], dtype)


# ---- the layout ----


@pytest.mark.parametrize("pattern", NIBBLES, ids=lambda p: "".join(map(str, p)))
def test_nibble_table(pattern):
    W = np.array([[0, 0, 0, 0, *pattern]], np.float32)
    S = sc.Sparse24.from_dense(W)
    # The earlier group is the low nibble.
    assert S.metadata.tolist() == [[NIBBLES[pattern] << 4 | 0xE]]
    assert S.values[0, 2:].tolist().count(1) == sum(pattern)


def test_golden_nibbles_of_full_groups():
    expected = golden("24.nibble_table")["expected"]
    for text, nibble in expected.items():
        pattern = tuple(int(digit) for digit in text)
        # CUTLASS's Python utility and torch differ for 1000 and 0100; ours follow torch.
        if text not in ("1000", "0100"):
            assert NIBBLES[pattern] == nibble


def test_golden_torch_documentation():
    entry = golden("24.torch_doc")
    W = np.tile(np.array([0, 0, 1, 1], np.float16), (128, 32))
    S = sc.Sparse24.from_dense(W)
    assert (S.values == 1).all()
    words = S.metadata.view("<i2")
    assert list(words.shape) == entry["expected"]["shape_meta"]
    assert (words == entry["expected"]["metadata_int16"]).all()


@ON_EACH_TARGET
@EXAMPLES_SHARE_IT
@given(dense_24())
def test_compression_by_hand(W):
    S = sc.Sparse24.from_dense(W)
    values, metadata = compressed_by_hand(W)
    np.testing.assert_array_equal(bits(S.values), bits(values))
    np.testing.assert_array_equal(S.metadata, metadata)
    assert not S.values.flags.writeable
    assert not S.metadata.flags.writeable


@ON_EACH_TARGET
@EXAMPLES_SHARE_IT
@given(dense_24())
def test_dense_round_trip_is_exact(W):
    S = sc.Sparse24.from_dense(W)
    S.check()
    assert (S.shape, S.dtype) == (W.shape, W.dtype)
    expected = np.where(W == 0, W.dtype.type(0), W)
    np.testing.assert_array_equal(bits(S.toarray()), bits(expected))
    again = sc.Sparse24((S.values, S.metadata), S.shape)
    assert again.equals(S)
    assert pickle.loads(pickle.dumps(S)).equals(S)
    assert S.nbytes == S.storage().total


@ON_EACH_TARGET
@pytest.mark.parametrize("k", [31, 32, 63, 64, 65, 130, 257])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_rows_longer_than_a_vector(k, dtype):
    rng = np.random.default_rng(k)
    groups = np.array(list(NIBBLES), dtype)[rng.integers(0, len(NIBBLES), (3, ceil(k, 4)))]
    W = (groups.reshape(3, -1)[:, :k] * rng.integers(1, 100, (3, k))).astype(dtype)
    S = sc.Sparse24.from_dense(W)
    values, metadata = compressed_by_hand(W)
    np.testing.assert_array_equal(bits(S.values), bits(values))
    np.testing.assert_array_equal(S.metadata, metadata)
    np.testing.assert_array_equal(S.toarray(), W)


def test_any_ascending_nibble_is_accepted():
    # CUTLASS's Python utility writes 1000 as C and 0100 as D.
    S = sc.Sparse24((np.array([[7.0, 0.0, 8.0, 0.0]]), np.array([[0xDC]], np.uint8)), (1, 8))
    assert S.toarray().tolist() == [[7, 0, 0, 0, 0, 8, 0, 0]]
    assert S.allclose(sc.Sparse24.from_dense(S.toarray()))
    assert not S.equals(sc.Sparse24.from_dense(S.toarray()))


# ---- pruning ----


@ON_EACH_TARGET
@EXAMPLES_SHARE_IT
@given(
    m=st.integers(0, 4),
    k=st.integers(0, 19),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 2**32 - 1),
)
def test_prune_keeps_the_two_largest_of_each_group(m, k, dtype, seed):
    W = np.random.default_rng(seed).integers(-9, 10, (m, k)).astype(dtype)
    expected = np.zeros_like(W)
    for row in range(m):
        for begin in range(0, k, 4):
            four = np.abs(W[row, begin : begin + 4].astype(int))
            kept = begin + np.argsort(-four, kind="stable")[:2]
            expected[row, kept] = W[row, kept]
    S = sc.Sparse24.from_dense(W, prune=True)
    np.testing.assert_array_equal(S.toarray(), expected)


def test_prune_takes_nan_for_the_largest():
    W = np.array([[4.0, np.nan, np.inf, 3.0]])
    S = sc.Sparse24.from_dense(W, prune=True)
    np.testing.assert_array_equal(S.toarray(), [[0, np.nan, np.inf, 0]])


def test_prune_drops_infinity_times_zero():
    W = np.array([[np.inf, -np.inf, np.inf, 1.0]])
    assert sc.Sparse24.from_dense(W, prune=True).toarray().tolist() == [[np.inf, -np.inf, 0, 0]]


# ---- bad input ----


@pytest.mark.parametrize(("row", "group"), [(0, 0), (1, 2), (2, 4)])
def test_weights_that_are_not_24(row, group):
    W = np.zeros((3, 18), np.float32)
    W[row, 4 * group : 4 * group + 4] = 1
    if group == 4:  # the tail has two columns, which always fit
        assert sc.Sparse24.from_dense(W).nnz > 0
        return
    with pytest.raises(ValueError, match=rf"row {row}.*group {group}"):
        sc.Sparse24.from_dense(W)


def test_nan_counts_as_non_zero():
    with pytest.raises(ValueError, match=r"row 0.*group 0"):
        sc.Sparse24.from_dense(np.array([[np.nan, 1.0, 1.0, 0.0]]))


@pytest.mark.parametrize("nibble", [0x0, 0x1, 0x2, 0x3, 0x5, 0x6, 0x7, 0xA, 0xB, 0xF])
@pytest.mark.parametrize("half", [0, 4])
def test_nibbles_that_do_not_ascend(nibble, half):
    metadata = np.full((3, 2), 0xEE, np.uint8)
    metadata[1, 1] = nibble << half | 0xE << (4 - half)
    with pytest.raises(ValueError, match=rf"row 1, group {2 + half // 4}"):
        sc.Sparse24((np.zeros((3, 8)), metadata), (3, 16))


@pytest.mark.parametrize(
    ("values", "metadata"),
    [((2, 3), (2, 1)), ((1, 4), (2, 1)), ((2, 4), (2, 2)), ((2, 4), (1, 1)), ((2, 4), (2, 0))],
)
def test_shapes_that_do_not_fit(values, metadata):
    with pytest.raises(ValueError, match="shape"):
        sc.Sparse24((np.zeros(values), np.full(metadata, 0xEE, np.uint8)), (2, 8))


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.float32, bool, object])
def test_metadata_of_other_dtypes(dtype):
    with pytest.raises(TypeError, match="metadata"):
        sc.Sparse24((np.zeros((2, 4)), np.zeros((2, 1), dtype)), (2, 8))


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, bool, object, complex, ">f4"])
def test_values_of_other_dtypes(dtype):
    with pytest.raises(TypeError, match="Sparse24: values"):
        sc.Sparse24((np.zeros((2, 4), dtype), np.full((2, 1), 0xEE, np.uint8)), (2, 8))
    with pytest.raises(TypeError, match="from_dense: W"):
        sc.Sparse24.from_dense(np.zeros((2, 8), dtype))


@pytest.mark.parametrize("rank", [1, 3])
def test_other_ranks(rank):
    with pytest.raises(TypeError, match="axes"):
        sc.Sparse24.from_dense(np.zeros((8,) * rank))
    with pytest.raises(TypeError, match="values"):
        sc.Sparse24((np.zeros((4,) * rank), np.full((4, 1), 0xEE, np.uint8)), (4, 8))
    with pytest.raises(TypeError, match="metadata"):
        sc.Sparse24((np.zeros((2, 4)), np.zeros((1,) * rank, np.uint8)), (2, 8))


@pytest.mark.parametrize("shape", [(2,), (-2, 8), (2, 8, 1)])
def test_bad_shape(shape):
    with pytest.raises(ValueError, match="shape"):
        sc.Sparse24((np.zeros((2, 4)), np.full((2, 1), 0xEE, np.uint8)), shape)


@pytest.mark.parametrize("value", [1.0, np.nan])
def test_a_value_past_the_last_column(value):
    S = sc.Sparse24.from_dense(np.array([[0.0, 0, 0, 0, 1]]))  # the fifth column's group: 1000
    values = np.array(S.values)
    assert S.metadata.tolist() == [[0x8E]]
    values[0, 3] = value  # position 2 of that group: column 6 of 5
    with pytest.raises(ValueError, match=r"values\[0, 3\].*5 columns"):
        sc.Sparse24((values, S.metadata), S.shape)


def test_asarray_refuses_and_names_the_way_and_its_bytes():
    with pytest.raises(TypeError, match=r"A\.toarray\(\).*64 bytes"):
        np.asarray(sc.Sparse24.from_dense(eight()))


def test_a_dense_matrix_is_sent_to_from_dense():
    with pytest.raises(TypeError, match="from_dense"):
        sc.Sparse24(eight()[0], (1, 8))


@pytest.mark.parametrize("shape", [(0, 0), (0, 8), (3, 0), (0, 5)])
def test_empty_matrices(shape):
    S = sc.Sparse24.from_dense(np.zeros(shape, np.float16))
    assert (S.shape, S.nnz, S.density, S.nbytes) == (shape, 0, 0.0, 0)
    assert S.toarray().shape == shape


def test_dense_past_the_address_space():
    # Without rows, because a 2:4 matrix with one takes a quarter of the dense bytes or more.
    metadata = np.zeros((0, 2**59), np.uint8)
    S = sc.Sparse24((np.zeros((0, 2**61), np.float16), metadata), (0, 2**62))
    with pytest.raises(MemoryError, match=rf"Sparse24\.toarray.*{2**62}\).*{2**63} bytes"):
        S.toarray()


def test_strided_and_read_only_arrays_work():
    S = sc.Sparse24.from_dense(eight())
    wide = np.zeros((2, 12), np.float32)
    wide[:, ::3] = S.values
    metadata = np.asfortranarray(np.array(S.metadata))
    metadata.flags.writeable = False
    assert sc.Sparse24((wide[:, ::3], metadata), (2, 8)).equals(S)
    table = np.zeros((4, 16), np.float32)
    table[::2, ::-2] = eight()
    assert sc.Sparse24.from_dense(table[::2, ::-2]).equals(S)


# ---- torch ----


@pytest.mark.parametrize("name", list(VALUE_DTYPES))
def test_torch_values(name):
    torch = pytest.importorskip("torch")
    W = torch.tensor(eight()).to(getattr(torch, name))
    S = sc.Sparse24.from_dense(W)
    assert (S.dtype, S.metadata.dtype, S.device) == (W.dtype, torch.uint8, torch.device("cpu"))
    assert torch.equal(S.toarray(), W)
    assert S.equals(sc.Sparse24.from_dense(eight(VALUE_DTYPES[name])))
    assert sc.Sparse24((S.values, S.metadata), S.shape).values is S.values
    assert pickle.loads(pickle.dumps(S)).equals(S)
    pruned = sc.Sparse24.from_dense(torch.ones(2, 8).to(W.dtype), prune=True)
    assert pruned.toarray()[0].tolist() == [1, 1, 0, 0, 1, 1, 0, 0]


def test_tensor_that_no_longer_fits():
    torch = pytest.importorskip("torch")
    S = sc.Sparse24.from_dense(torch.tensor(eight()))
    for shape in ((1, 4), (2, 3), (2, 6), (3, 4), (8,)):
        S.values.data = torch.ones(shape)
        with pytest.raises(ValueError, match=r"values has shape .*, expected \(2, 4\)"):
            S.toarray()


@pytest.mark.parametrize("k", [0, 1, 5, 6, 8])
def test_gradients_of_the_gather(k):
    torch = pytest.importorskip("torch")
    W = torch.arange(1.0, 2 * k + 1, dtype=torch.float64).reshape(2, k)
    W[:, 2::4] = W[:, 3::4] = 0
    W.requires_grad_()
    S = sc.Sparse24.from_dense(W)
    assert S.equals(sc.Sparse24.from_dense(W.detach()))
    weights = torch.arange(1.0, S.values.numel() + 1, dtype=torch.float64).reshape(S.values.shape)
    (S.values * weights).sum().backward()
    expected = sc.Sparse24((weights.where(S.values != 0, 0), S.metadata), S.shape).toarray()
    np.testing.assert_array_equal(W.grad[W != 0], expected[W != 0])
    assert S.toarray().requires_grad


def test_gradcheck_through_toarray_and_prune():
    torch = pytest.importorskip("torch")
    values = torch.arange(1.0, 9.0, dtype=torch.float64).reshape(2, 4).requires_grad_()
    metadata = torch.tensor([[0x4E], [0xD8]], dtype=torch.uint8)

    def dense(values):
        return sc.Sparse24((values, metadata), (2, 8)).toarray()

    assert torch.autograd.gradcheck(dense, (values,))
    W = torch.tensor([[1.0, -5.0, 3.0, 2.0, 7.0, 6.0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda W: sc.Sparse24.from_dense(W, prune=True).toarray(), (W,))


def test_negative_zero_in_a_padded_slot():
    torch = pytest.importorskip("torch")
    W = np.array([[-0.0, -0.0, -0.0, 1.0]])
    from_numpy = sc.Sparse24.from_dense(W)
    from_torch = sc.Sparse24.from_dense(torch.tensor(W, requires_grad=True))
    np.testing.assert_array_equal(bits(from_numpy.values), bits(from_torch.values.detach()))


def test_metadata_equals_torchs_before_its_reordering():
    torch = pytest.importorskip("torch")
    module = pytest.importorskip("torch.sparse._semi_structured_conversions")
    rng = np.random.default_rng(0)
    W = rng.standard_normal((64, 128)).astype(np.float16)
    S = sc.Sparse24.from_dense(W, prune=True)
    values, reordered = module.sparse_semi_structured_from_dense_cutlass(
        torch.from_numpy(S.toarray())
    )
    np.testing.assert_array_equal(values, S.values)
    words = S.metadata.view("<i2")
    offsets = module._calculate_meta_reordering_scatter_offsets(
        words.shape[0], words.shape[1], torch.int16, "cpu"
    )
    np.testing.assert_array_equal(reordered.reshape(-1)[offsets].reshape(words.shape), words)


# ---- copies and comparisons ----


def test_copies():
    values = np.array([[1.0, 2.0]])
    S = sc.Sparse24((values, np.array([[0xE4]], np.uint8)), (1, 4))
    assert np.shares_memory(S.values, values)
    for made in (S.copy(), copy.deepcopy(S)):
        assert made.equals(S)
        assert not np.shares_memory(made.values, values)
    assert np.shares_memory(copy.copy(S).values, values)
    assert S.to("cpu").equals(S)
    with pytest.raises(RuntimeError, match="cuda"):
        S.to("cuda")


@pytest.mark.parametrize("source", DTYPES, ids=str)
@pytest.mark.parametrize("target", DTYPES, ids=str)
def test_astype(source, target):
    S = sc.Sparse24.from_dense(eight(source)).astype(target)
    assert S.equals(sc.Sparse24.from_dense(eight(target)))
    assert S.equals(sc.Sparse24.from_dense(eight(source))) == (source == target)


def test_closeness():
    S = sc.Sparse24.from_dense(eight())
    assert S.allclose(sc.Sparse24.from_dense(eight() * np.float32(1 + 5e-6)))
    assert not S.allclose(sc.Sparse24.from_dense(eight() * np.float32(1 + 5e-5)))
    assert not S.allclose(sc.Sparse24.from_dense(eight()[:, ::-1]))
    assert not S.allclose(sc.Sparse24.from_dense(eight()[:1]))
    assert not S.equals(None)


def test_pickle_is_validated_when_loaded():
    metadata = np.array([[0x9C, 0xED, 0x84]], np.uint8)
    S = sc.Sparse24((np.zeros((1, 12)), metadata), (1, 24))
    content = pickle.dumps(S)
    assert content.count(metadata.tobytes()) == 1
    with pytest.raises(ValueError, match="row 0, group 5"):
        pickle.loads(content.replace(metadata.tobytes(), b"\x9c\xed\x04"))


def test_what_it_says_of_itself():
    S = sc.Sparse24.from_dense(eight(np.float16))
    assert repr(S) == "<Sparse24 2x8, nnz=8 (density 50%), float16, metadata uint8, 18 bytes>"
    assert (S.format, S.device, S.density, S.sparsity) == ("sparse24", "cpu", 0.5, 0.5)
    storage = S.storage()
    assert (storage.values, storage.columns, storage.row_offsets) == (16, 2, 0)
    assert storage.ratio == 0.5625
    tail = sc.Sparse24.from_dense(np.array([[0.0, 0, 0, 0, 1]]))
    assert (tail.values.shape, tail.nnz) == ((1, 4), 3)  # the fourth slot lies past the last column


def test_product():
    W = eight()
    X = np.arange(24, dtype=np.float32).reshape(8, 3)
    # Small integers: exact in float32.
    np.testing.assert_array_equal(sc.Sparse24.from_dense(W) @ X, W @ X)
