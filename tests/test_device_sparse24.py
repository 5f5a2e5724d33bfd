"""2:4 on a device: the host's bits, from dense tensors and back."""

import itertools

import numpy as np
import pytest

import oracle
import sparsecore as sc
from device_cases import back, tensor
from oracle import DTYPES, F32, FLOATING, I8
from sparse24_cases import compressed_by_hand, two_largest
from sparsecore.cuda.structure24 import DeviceSparse24
from sparsecore.interop import FLOAT8_DTYPES

pytestmark = [pytest.mark.gpu, pytest.mark.small]

# Around the 8 columns of a thread, 16 of int8, and the 2048 of a block.
LENGTHS = (1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 17, 32, 40)
SPECIAL = {
    I8: [0, 0, 1, -1, 5, 127, -127, -128],
    **{key: [0, -0.0, 1, -1, 2, np.inf, -np.inf, np.nan] for key in FLOATING},
}


def dense_cases(dtype, k):
    """Return numbers with many ties, zeros of both signs, NaN and infinities; and without."""
    rng = np.random.default_rng(k)
    W = rng.choice(np.array(SPECIAL[dtype]).astype(dtype), (9, k))
    W[0] = rng.integers(-120, 120, k).astype(dtype)
    return W


def check_bits(S, host):
    assert isinstance(S._structure, DeviceSparse24)
    assert (S.shape, S.nnz, S.nbytes, repr(S)) == (host.shape, host.nnz, host.nbytes, repr(host))
    assert S.storage() == host.storage()
    np.testing.assert_array_equal(oracle.bits(back(S.values)), oracle.bits(host.values))
    np.testing.assert_array_equal(back(S.metadata), host.metadata)
    np.testing.assert_array_equal(
        oracle.bits(back(S.toarray())), oracle.bits(np.asarray(host.toarray()))
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_pruned_and_compressed_as_on_the_host(dtype, gpu):
    for k in LENGTHS:
        W = dense_cases(dtype, k)
        host = sc.Sparse24.from_dense(W, prune=True)
        for moved in (tensor(W, gpu), tensor(np.asfortranarray(W), gpu)):
            check_bits(sc.Sparse24.from_dense(moved, prune=True), host)
            mask = sc.prune_24(moved)
            np.testing.assert_array_equal(back(mask), two_largest(W), f"k={k}")
        again = tensor(np.asarray(host.toarray()), gpu)
        check_bits(sc.Sparse24.from_dense(again), host)


def test_a_row_of_more_columns_than_a_block_has_threads_for(gpu):
    rng = np.random.default_rng(1)
    for k in (2048, 2053, 4105):
        W = rng.standard_normal((2, k)).astype(np.float32)
        check_bits(
            sc.Sparse24.from_dense(tensor(W, gpu), prune=True),
            sc.Sparse24.from_dense(W, prune=True),
        )


def test_every_pattern_of_a_group(gpu):
    """By the table of the canonical layout, each of the 16 beside each other one."""
    patterns = np.array(list(itertools.product((0, 1), repeat=4)))
    pairs = np.array([np.concatenate(p) for p in itertools.product(patterns, repeat=2)])
    W = pairs * np.arange(1.0, 9)
    fits = (pairs.reshape(-1, 2, 4).sum(axis=2) <= 2).all(axis=1)
    values, metadata = compressed_by_hand(W[fits])
    S = sc.Sparse24.from_dense(tensor(W[fits], gpu))
    np.testing.assert_array_equal(back(S.values), values)
    np.testing.assert_array_equal(back(S.metadata), metadata)
    for row in np.flatnonzero(~fits):
        with pytest.raises(ValueError, match=r"Sparse24: row 0, group [01] "):
            sc.Sparse24.from_dense(tensor(W[row : row + 1], gpu))
    mask = back(sc.prune_24(tensor(W, gpu)))
    np.testing.assert_array_equal(mask, two_largest(W))


def test_tensors_of_any_strides(gpu):
    rng = np.random.default_rng(2)
    wide = rng.standard_normal((8, 51)).astype(np.float16)
    moved = tensor(wide, gpu)
    for cut in (np.s_[::2, ::3], np.s_[:, 1:49], np.s_[3:, :48], np.s_[:1, 5:]):
        check_bits(
            sc.Sparse24.from_dense(moved[cut], prune=True),
            sc.Sparse24.from_dense(wide[cut], prune=True),
        )
        np.testing.assert_array_equal(back(sc.prune_24(moved[cut])), sc.prune_24(wide[cut]))
    spread = moved[:1].expand(4, 51)
    np.testing.assert_array_equal(back(sc.prune_24(spread)), sc.prune_24(wide[[0] * 4]))
    assert back(sc.prune_24(moved.view(2, 4, 51))).shape == (2, 4, 51)
    assert back(sc.prune_24(moved[0, 0:3])).sum() == 2


@pytest.mark.parametrize("shape", [(0, 0), (0, 8), (3, 0), (0, 5)])
def test_empty_matrices(shape, gpu):
    W = np.zeros(shape, np.float16)
    check_bits(sc.Sparse24.from_dense(tensor(W, gpu)), sc.Sparse24.from_dense(W))
    assert sc.prune_24(tensor(W, gpu)).shape == shape


def test_values_that_are_no_longer_zero_are_expanded(gpu):
    """What a slot holds is what the matrix holds; slots past the last column are none of it."""
    rng = np.random.default_rng(3)
    for k in (8, 13, 16, 30):
        host = sc.Sparse24.from_dense(np.zeros((5, k), np.float32))
        host = host.with_data(rng.standard_normal(host.values.shape).astype(np.float32))
        there = host.to(gpu)
        np.testing.assert_array_equal(back(there.toarray()), host.toarray())
        recorded = there.with_data(there.values.clone().requires_grad_())
        np.testing.assert_array_equal(back(recorded.toarray().detach()), host.toarray())


def test_gradients_reach_the_dense_matrix(gpu):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(4)
    for k in (16, 21):
        W = tensor(rng.standard_normal((3, k)), gpu).requires_grad_()
        S = sc.Sparse24.from_dense(W, prune=True)
        assert S.equals(sc.Sparse24.from_dense(W.detach(), prune=True))
        factors = torch.arange(1.0, 3 * k + 1, dtype=torch.float64, device=gpu).view(3, k)
        (S.toarray() * factors).sum().backward()
        kept = back(sc.prune_24(W))
        np.testing.assert_array_equal(back(W.grad), np.where(kept, back(factors), 0))


def test_threads_that_take_several_steps_of_a_row(gpu):
    """Of a matrix with twice as many steps, 16 columns of int8, as an H200 holds threads."""
    rows, k = 16_400, 528
    W = np.random.default_rng(5).integers(-128, 128, (rows, k), dtype=np.int8)
    check_bits(
        sc.Sparse24.from_dense(tensor(W, gpu), prune=True), sc.Sparse24.from_dense(W, prune=True)
    )


@pytest.mark.parametrize("dtype", FLOAT8_DTYPES.values(), ids=str)
def test_8_bit_floats(dtype, gpu):
    """All their bit patterns, and the host's products."""
    rng = np.random.default_rng(6)
    for k in (22, 64):
        W = np.resize(rng.permutation(256).astype(np.uint8), (24, k)).view(dtype)
        host = sc.Sparse24.from_dense(W, prune=True)
        S = sc.Sparse24.from_dense(tensor(W, gpu), prune=True)
        for part, want in ((S.values, host.values), (S.toarray(), host.toarray())):
            np.testing.assert_array_equal(back(part).view(np.uint8), want.view(np.uint8))
        np.testing.assert_array_equal(back(S.metadata), host.metadata)
        np.testing.assert_array_equal(back(sc.prune_24(tensor(W, gpu))), two_largest(W))
        again = sc.Sparse24((S.values, S.metadata), S.shape).to("cpu")
        assert again.equals(host)
        finite = sc.Sparse24.from_dense(rng.standard_normal((9, k)).astype(dtype), prune=True)
        stored = np.asarray(two_largest(finite.toarray()))
        for x_dtype in (*FLOATING[1:], dtype):
            X = rng.standard_normal((k, 20)).astype(x_dtype)
            result = F32 if x_dtype is dtype else x_dtype
            dense = finite.toarray().astype(np.float64)
            want = oracle.product(dense, stored, X.astype(np.float64), result)
            for n in (1, 20):
                got = back(finite.to(gpu) @ tensor(np.ascontiguousarray(X[:, :n]), gpu))
                part = oracle.Expected(want.value[:, :n], result, want.tolerance[:, :n])
                oracle.check(got, part, f"{dtype} by {x_dtype}, n={n}")
