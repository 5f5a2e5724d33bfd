"""The kernel for 2:4 matrices and many columns, against float64 on the host."""

import numpy as np
import pytest

import cases
import oracle
from device_cases import back, tensor
from oracle import BF16, F16, F32
from wide24_cases import by_columns, packed, packed_of

torch = pytest.importorskip("torch", reason="torch is not installed")

pytestmark = [pytest.mark.gpu, pytest.mark.small]

DTYPES = pytest.mark.parametrize("dtype", [F16, BF16], ids=str)


def check(got, given, X, dtype, scale=None):
    oracle.check(
        back(got), oracle.product(given.W, given.stored, back(X), dtype, scale), tuple(X.shape)
    )


@DTYPES
@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (1, 1), (64, 64), (70, 37), (9, 130)], ids=str)
def test_every_slot_meets_its_column_and_slabs_are_all_there_is(shape, dtype, gpu):
    given = packed(np.random.default_rng(1), shape, dtype, gpu)
    unit = torch.eye(shape[1], device=gpu).to(given.values.dtype)
    np.testing.assert_array_equal(back(given.product(unit)).astype(np.float64), given.W)
    slabs = -(-shape[0] // 64) * -(-shape[1] // 64)
    assert given.wide.nbytes == (slabs * 64 * 64 * 9 // 8 or 20)  # 20: room for an address each


@DTYPES
@pytest.mark.parametrize(("m", "k", "n"), [(1, 1, 1), (70, 37, 9), (257, 70, 130)])
def test_either_memory_order_of_both_dense_sides(m, k, n, dtype, gpu):
    rng = np.random.default_rng(2)
    given = packed(rng, (m, k), dtype, gpu)
    rows = tensor(cases.numbers(rng, (k, n), dtype), gpu)
    for X in (rows, by_columns(rows)):
        check(given.product(X), given, X, dtype)
        check(given.matmul(X, X.new_empty(n, m).t()), given, X, dtype)


@pytest.mark.parametrize(("m", "k", "n"), [(3, 650, 20), (2100, 20, 129)])
def test_more_steps_than_stages_and_more_tiles_than_a_band(m, k, n, gpu):
    rng = np.random.default_rng(3)
    given = packed(rng, (m, k), BF16, gpu)
    X = tensor(cases.numbers(rng, (k, n), BF16), gpu)
    check(given.product(X), given, X, BF16)


def test_strides_of_any_kind_and_nothing_beside_is_written(gpu):
    rng = np.random.default_rng(4)
    given = packed(rng, (66, 30), F16, gpu)
    wide = tensor(cases.numbers(rng, (64, 300), F16), gpu)
    odd = tensor(cases.numbers(rng, (64, 301), F16), gpu)
    for X in (wide[:30, 8:29], wide[:30, 1:22], wide[::2, ::3][:30], odd[1:31, :21]):
        turned = by_columns(wide)[: X.shape[0], : X.shape[1]]
        for x in (X, turned):
            beside = torch.full((140, 500), 77.0, dtype=torch.float16, device=gpu)
            for out in (beside[1:67, 3 : 3 + x.shape[1]], beside[: x.shape[1], 5:71].t()):
                check(given.matmul(x, out), given, x, F16)
                out.fill_(77)
            assert (back(beside) == 77).all()


@pytest.mark.parametrize("activation", [None, "relu", "gelu", "silu"])
def test_what_follows(activation, gpu):
    rng = np.random.default_rng(5)
    given = packed(rng, (70, 37), F16, gpu)
    X = tensor(cases.numbers(rng, (37, 9), F16), gpu)
    scale, bias = (tensor(cases.numbers(rng, 70, F32), gpu) for _ in range(2))
    residual = tensor(cases.numbers(rng, (70, 9), F16), gpu)
    exact = given.W @ back(X).astype(np.float64) * back(scale)[:, None]
    exact = torch.from_numpy(exact + back(bias)[:, None] + back(residual))
    if activation is not None:
        exact = getattr(torch.nn.functional, activation)(exact)
    for out in (torch.empty_like(residual), by_columns(torch.empty_like(residual))):
        given.matmul(X, out, (scale, bias, residual, activation))
        np.testing.assert_allclose(back(out).astype(np.float64), exact, rtol=2e-3, atol=2e-3)


@DTYPES
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_only_what_places_select_multiplies(value, dtype, gpu):
    rng = np.random.default_rng(6)
    given = packed(rng, (70, 66), dtype, gpu)
    for column in (0, 13, 65):
        X = cases.numbers(rng, (66, 20), dtype)
        X[column] = value
        hit = given.stored[:, column]
        assert 0 < hit.sum() < len(hit)
        for x in (tensor(X, gpu), by_columns(tensor(X, gpu))):
            Y = back(given.product(x)).astype(np.float64)
            assert np.isfinite(Y[~hit]).all()
            assert not np.isfinite(Y[hit]).any()


def test_nothing_outside_of_x_and_no_slot_past_the_last_column_multiplies(gpu):
    rng = np.random.default_rng(7)
    given = packed(rng, (9, 37), F16, gpu)
    around = torch.full((64, 64), torch.nan, dtype=torch.float16, device=gpu)
    X = around[:37, :19]
    X.copy_(tensor(cases.numbers(rng, (37, 19), F16), gpu))
    check(given.product(X), given, X, F16)
    columns = around[:19, :37].t()
    around.fill_(torch.nan)
    columns.copy_(tensor(cases.numbers(rng, (37, 19), F16), gpu))
    check(given.product(columns), given, columns, F16)
    slots = given.values.view(9, 20)
    past = slots.clone()
    past[:, 19] = torch.nan  # of column 37 or more: the last group has one column, its first slot
    other = given.with_values(past.view(-1))
    assert torch.equal(given.product(columns, wide=other), given.product(columns))


def test_new_values_are_others_and_the_same_call_gives_the_same_bits(gpu):
    rng = np.random.default_rng(8)
    given = packed(rng, (70, 130), BF16, gpu)
    X = tensor(cases.numbers(rng, (130, 40), BF16), gpu)
    first = given.product(X)
    doubled = given.with_values(given.values * 2)
    assert torch.equal(given.product(X, wide=doubled), 2 * first)
    assert torch.equal(given.product(X), first)


def test_bad_input_is_named(gpu):
    rng = np.random.default_rng(9)
    given = packed(rng, (6, 12), F16, gpu)
    narrow = cases.sparse24(cases.random_dense(rng, (6, 12), 0.6, F32)).matrix.to(gpu)
    with pytest.raises(TypeError, match="sparse24_matmul: S is float32, expected float16"):
        packed_of(narrow, None, None)
    half = {"dtype": torch.float16, "device": gpu}
    for X, error, match in (
        (torch.ones(11, 2, **half), ValueError, "X has 11 rows"),
        (torch.ones(12, 2, device=gpu), TypeError, "X is float32, expected float16, as S has"),
    ):
        with pytest.raises(error, match=match):
            given.matmul(X, torch.empty(6, 2, dtype=X.dtype, device=gpu))
    with pytest.raises(ValueError, match="out"):
        given.matmul(torch.ones(12, 2, **half), torch.empty(6, 3, **half))
    with pytest.raises(ValueError, match=r"S\.values has shape"):
        given.with_values(given.values[1:])
