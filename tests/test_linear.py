"""linear: x @ A.T for every kind of A, and its epilogue: csrc/epilogue.h, csrc/cpu/write_out.h."""

import itertools
import math

import ml_dtypes
import numpy as np
import pytest

import cases
import oracle
import sparsecore as sc
from cases import MIXES, Mix
from oracle import BF16, F16, F32, F64, I8, Expected

LEFT = {"csr": cases.csr, "transposed": cases.transposed, "plan": cases.plan, "24": cases.sparse24}
LEADS = ((), (1,), (0,), (5,), (2, 3), (17,), (1, 2, 2))
erf = np.vectorize(math.erf, otypes=[np.float64])
ACTIVATIONS = {
    None: lambda v: v,
    "relu": lambda v: np.maximum(v, 0),
    "gelu": lambda v: v * 0.5 * (1 + erf(v / math.sqrt(2))),
    "silu": lambda v: v / (1 + np.exp(-v)),
}


def layer(operand, x, dtype, activation=None, scale=None, bias=None, residual=None):
    """Return what linear must give: everything in the accumulator's precision, rounded once.

    The activations stretch an error by at most 1.13 (the largest slope of gelu; silu's is 1.10).
    Their own error is a few units of the last place of v, what they are applied to: the factors
    0.5 (1 + erf) and 1 / (1 + exp) are at most 1.
    """
    flat = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    shape = (*x.shape[:-1], len(operand.W))
    acc = dtype if dtype == oracle.I32 else oracle.accumulator(dtype)
    base = oracle.product(operand.W, operand.stored, flat.T, acc, scale)
    v, magnitude = base.value.T, np.abs(base.value.T)
    for part in (bias, residual if residual is None else residual.reshape(v.shape)):
        if part is not None:
            v, magnitude = v + part, magnitude + np.abs(part.astype(np.float64))
    if dtype == oracle.I32:
        return Expected(v.reshape(shape), dtype, np.zeros(shape))
    tolerance = base.tolerance.T + oracle.gamma(4, acc) * magnitude
    if activation is not None:
        tolerance = 1.13 * (tolerance + oracle.gamma(8, acc) * np.abs(v))
        v = ACTIVATIONS[activation](v)
    rounding = oracle.unit(dtype) * np.abs(v) + float(ml_dtypes.finfo(dtype).smallest_subnormal)
    return Expected(v.reshape(shape), dtype, (tolerance + rounding).reshape(shape))


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("mix", MIXES, ids=str)
@pytest.mark.parametrize("left", LEFT)
def test_shapes_and_layouts(left, mix):
    rng = np.random.default_rng(17)
    dtype = oracle.result_dtype(mix.values, mix.x)
    for (m, k), lead in itertools.product(((6, 9), (17, 33), (1, 1), (0, 4), (4, 0)), LEADS):
        operand = LEFT[left](cases.random_dense(rng, (m, k), 0.4, mix.values))
        scale = cases.factors(rng, m, F32) if mix.scaled else None
        x = cases.numbers(rng, (*lead, k), mix.x)
        layouts = cases.LAYOUTS if len(lead) == 1 else ("C", "misaligned", "read-only")
        for layout in layouts:
            laid = cases.laid_out(x, layout)
            y = sc.linear(laid, operand.matrix, scale=scale)
            want = layer(operand, laid, dtype, scale=scale)
            oracle.check(y, want, f"{left} {m}x{k}, lead {lead}, {layout}")


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("mix", [m for m in MIXES if m.x != I8], ids=str)
@pytest.mark.parametrize("left", LEFT)
def test_epilogue(left, mix):
    """Each activation, with every combination of scale, bias and residual."""
    rng = np.random.default_rng(18)
    operand = LEFT[left](cases.random_dense(rng, (19, 23), 0.3, mix.values))
    parts = {"scale": cases.factors(rng, 19, F32), "bias": cases.numbers(rng, 19, mix.x)}
    for rows, activation in itertools.product((1, 18), ACTIVATIONS):
        x = cases.numbers(rng, (rows, 23), mix.x)
        parts["residual"] = cases.numbers(rng, (rows, 19), mix.x)
        for chosen in itertools.product((False, True), repeat=3):
            used = dict(itertools.compress(parts.items(), chosen))
            if mix.scaled:
                used["scale"] = parts["scale"]
            y = sc.linear(x, operand.matrix, activation=activation, **used)
            want = layer(operand, x, mix.x, activation, **used)
            oracle.check(y, want, f"{activation}, {sorted(used)}, {rows} rows")


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("dtype", [F64, F32, F16, BF16], ids=str)
def test_epilogue_arguments_in_any_memory_order_and_dtype(dtype):
    rng = np.random.default_rng(19)
    operand = cases.csr(cases.random_dense(rng, (17, 12), 0.4, dtype))
    for rows in (1, 5, 33):
        x = cases.numbers(rng, (rows, 12), dtype)
        residual = cases.numbers(rng, (rows, 17), dtype)
        for layout in cases.LAYOUTS:
            r = cases.laid_out(residual, layout)
            y = sc.linear(x, operand.matrix, residual=r)
            oracle.check(y, layer(operand, x, dtype, residual=r), f"residual {layout}")
        for other in (F64, F32, F16, BF16):
            scale, bias = cases.factors(rng, 17, other), cases.numbers(rng, 17, other)
            for layout in ("C", "strided", "negative", "misaligned", "read-only"):
                s, b = cases.laid_out(scale, layout), cases.laid_out(bias, layout)
                y = sc.linear(x, operand.matrix, b, scale=s)
                want = layer(operand, x, dtype, scale=s, bias=b)
                oracle.check(y, want, f"{other} scale and bias, {layout}")


@pytest.mark.usefixtures("target")
def test_activations_at_the_edges():
    """NaN passes; large arguments saturate without overflow; the sign of zero is kept by silu."""
    edges = np.array([[np.nan], [np.inf], [1e4], [-1e4], [0.0]], np.float32)
    A = sc.CSR.from_dense(np.ones((1, 1), np.float32))
    relu = sc.linear(edges, A, activation="relu")[:, 0]
    np.testing.assert_array_equal(relu, np.array([np.nan, np.inf, 1e4, 0, 0], np.float32))
    for activation in ("gelu", "silu"):
        y = sc.linear(edges, A, activation=activation)[:, 0]
        np.testing.assert_array_equal(y, np.array([np.nan, np.inf, 1e4, 0, 0], np.float32))


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("left", LEFT)
def test_int8_epilogue(left):
    """An int32 result takes an int32 residual, and no factors, biases or activations."""
    rng = np.random.default_rng(20)
    operand = LEFT[left](cases.random_dense(rng, (9, 14), 0.5, I8))
    x = cases.numbers(rng, (3, 14), I8)
    residual = rng.integers(-1000, 1000, (3, 9)).astype(np.int32)
    want = layer(operand, x, oracle.I32, residual=residual).value
    assert (sc.linear(x, operand.matrix, residual=residual) == want).all()
    for bad in ({"bias": np.ones(9, F32)}, {"scale": np.ones(9, F32)}, {"activation": "relu"}):
        with pytest.raises(TypeError, match="linear"):
            sc.linear(x, operand.matrix, **bad)


def test_nan_features_reach_only_outputs_that_use_them():
    rng = np.random.default_rng(21)
    for make in LEFT.values():
        operand = make(cases.random_dense(rng, (9, 11), 0.3, F32))
        for rows in (1, 4, 20):
            x = cases.numbers(rng, (rows, 11), F32)
            for feature in range(11):
                bad = x.copy()
                bad[:, feature] = np.nan
                y = sc.linear(bad, operand.matrix, np.ones(9, F32), activation="silu")
                assert (np.isnan(y) == operand.stored[:, feature]).all(), (rows, feature)


# ---- dense weights: the same layer, so the same dtypes ----


@pytest.mark.parametrize("mix", MIXES, ids=str)
def test_dense_weights_follow_the_same_dtypes(mix):
    rng = np.random.default_rng(22)
    W = cases.numbers(rng, (6, 10), mix.values)
    operand = cases.Operand(W, W.astype(np.float64), np.ones(W.shape, dtype=bool))
    scale = cases.factors(rng, 6, F32) if mix.scaled else None
    for lead in LEADS:
        x = cases.numbers(rng, (*lead, 10), mix.x)
        y = sc.linear(x, W, scale=scale)
        want = layer(operand, x, oracle.result_dtype(mix.values, mix.x), scale=scale)
        oracle.check(y, want, f"dense, lead {lead}")


@pytest.mark.parametrize("dtype", [F64, F32], ids=str)
def test_dense_epilogue(dtype):
    rng = np.random.default_rng(23)
    W = cases.numbers(rng, (6, 10), dtype)
    operand = cases.Operand(W, W.astype(np.float64), np.ones(W.shape, dtype=bool))
    used = {
        "scale": cases.factors(rng, 6, dtype),
        "bias": cases.numbers(rng, 6, dtype),
        "residual": cases.numbers(rng, (4, 6), dtype),
    }
    x = cases.numbers(rng, (4, 10), dtype)
    for activation in ACTIVATIONS:
        y = sc.linear(x, W, activation=activation, **used)
        oracle.check(y, layer(operand, x, dtype, activation, **used), activation)
    far = sc.linear(np.array([[-1000.0]], dtype), np.ones((1, 1), dtype), activation="silu")
    assert far == 0


@pytest.mark.parametrize(
    ("values", "x"), [(F32, F64), (F64, F32), (F16, BF16), (F16, F64), (F32, I8)], ids=str
)
def test_dense_weights_refuse_the_same_mixes(values, x):
    with pytest.raises(TypeError, match=rf"linear: .*{values}.*{x}|linear: .*{x}.*{values}"):
        sc.linear(np.ones((1, 4), x), np.ones((2, 4), values))


def test_dense_weights_and_sparse_ones_agree():
    """Also where x is a tensor."""
    torch = pytest.importorskip("torch")
    mix = Mix(BF16, F32)
    W = cases.numbers(np.random.default_rng(24), (5, 8), mix.values)
    x = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))
    tensor = sc.interop.as_tensor(W)
    dense, sparse = sc.linear(x, tensor), sc.linear(x, sc.CSR.from_dense(tensor))
    assert dense.dtype == sparse.dtype == torch.float32
    torch.testing.assert_close(dense, sparse)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"bias": np.ones(1)}, ValueError),
        ({"scale": np.ones((4, 1))}, TypeError),
        ({"residual": np.ones((3, 5))}, ValueError),
        ({"bias": np.ones(4, np.int64)}, TypeError),
        ({"residual": np.ones((3, 4), np.float32)}, TypeError),
        ({"threads": -5}, ValueError),
        ({"activation": "tanh"}, ValueError),
        ({"out": np.empty((3, 5))}, ValueError),
    ],
)
def test_a_dense_weight_is_held_to_the_same_rules(options, error):
    W, x = np.eye(4), np.ones((3, 4))
    for weight in (W, sc.CSR.from_dense(W)):
        with pytest.raises(error):
            sc.linear(x, weight, **options)


def test_an_int8_product_takes_no_epilogue():
    W, x = np.eye(4, dtype=np.int8), np.ones((3, 4), np.int8)
    for weight in (W, sc.CSR.from_dense(W)):
        with pytest.raises(TypeError):
            sc.linear(x, weight, activation="relu")
        with pytest.raises(TypeError):
            sc.linear(x, weight, np.ones(4))


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("left", ["csr", "packed_sweep", "block_permute", "24"])
@pytest.mark.parametrize("rows", [1, 3])
def test_an_integer_residual_does_not_wrap(left, rows):
    W, x = np.full((3, 20), 127, np.int8), np.full((rows, 20), 127, np.int8)
    if left == "24":
        A = sc.Sparse24.from_dense(W, prune=True)
    else:
        A = sc.CSR.from_dense(W) if left == "csr" else sc.CSR.from_dense(W).prepare(kernel=left)
    sums = 127 * 127 * (10 if left == "24" else 20)
    room = 2**31 - 1 - sums
    y = sc.linear(x, A, residual=np.full((rows, 3), room, np.int32))
    assert (y == 2**31 - 1).all()
    with pytest.raises(OverflowError, match="int32"):
        sc.linear(x, A, residual=np.full((rows, 3), room + 1, np.int32))
