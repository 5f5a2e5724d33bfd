"""gelu and silu of products: every range of float32 against float64, edges, bits by place."""

import math

import numpy as np
import pytest

import cases
import oracle
import sparsecore as sc
from oracle import F16, F32, F64

# Of float32, in units of |x|: the factors Phi(x) and 1 / (1 + exp(-x)) are at most 1.
SHARE = 4e-7
ONE = sc.CSR.from_dense(np.ones((1, 1), F32))

erfc = np.vectorize(math.erfc, otypes=[F64])


def exact(activation, x):
    """Return the activation in float64; without the cancellation of 1 + erf."""
    x = x.astype(F64)
    if activation == "gelu":
        return x * 0.5 * erfc(-x / math.sqrt(2))
    with np.errstate(over="ignore"):
        return x / (1 + np.exp(-x))


def applied(activation, x):
    """Return the activation as a product applies it to x, (n,)."""
    return sc.linear(x[:, None], ONE, activation=activation)[:, 0]


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("activation", ["gelu", "silu"])
def test_every_range_of_numbers(activation):
    sizes = np.logspace(-45, 38.5, 4000)
    x = np.concatenate([np.linspace(-20, 20, 20011), -sizes, sizes]).astype(F32)
    error = np.abs(applied(activation, x) - exact(activation, x))
    allowed = SHARE * np.abs(x.astype(F64)) + float(np.finfo(F32).smallest_subnormal)
    worst = np.argmax(error / allowed)
    assert error[worst] <= allowed[worst], f"{activation}({x[worst]}) is off by {error[worst]}"


@pytest.mark.usefixtures("target")
def test_silu_keeps_its_digits_where_it_is_small():
    x = np.linspace(-87, -1, 5003).astype(F32)
    want = exact("silu", x)
    assert (np.abs(applied("silu", x) - want) <= 5e-6 * np.abs(want)).all()


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("activation", ["gelu", "silu"])
def test_edges(activation, dtype):
    """The limits: 0 and x; -inf times 0 is NaN, as torch has it."""
    A = sc.CSR.from_dense(np.ones((1, 1), dtype))
    edges = [np.nan, np.inf, -np.inf, 0.0, 1e30, -1e30, 3e38, -3e38, 200.0, -200.0]
    y = sc.linear(np.array(edges, dtype)[:, None], A, activation=activation)[:, 0]
    wanted = [np.nan, np.inf, np.nan, 0.0, 1e30, 0.0, 3e38, 0.0, 200.0, 0.0]
    atol = 0 if dtype == F32 else 1e-80
    np.testing.assert_allclose(y, np.array(wanted, dtype), rtol=0, atol=atol)


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("activation", ["gelu", "silu"])
def test_bits_do_not_depend_on_the_place(activation):
    """The last elements of a run, alone or in whole vectors: the same arithmetic."""
    rng = np.random.default_rng(130)
    x = cases.numbers(rng, (77,), F32)
    whole = oracle.bits(applied(activation, x))
    for count in (1, 3, 7, 15, 16, 17, 33, 76):
        for first in (0, 77 - count):
            part = applied(activation, x[first : first + count])
            assert (oracle.bits(part) == whole[first : first + count]).all(), (count, first)
    down = sc.linear(np.ones((1, 1), F32), sc.CSR.from_dense(x[:, None]), activation=activation)
    assert (oracle.bits(down[0]) == whole).all()


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("activation", ["gelu", "silu"])
def test_halves_are_rounded_once(activation):
    x = np.linspace(-6, 6, 501).astype(F16)
    A = sc.CSR.from_dense(np.ones((1, 1), F16))
    y = sc.linear(x[:, None], A, activation=activation)[:, 0]
    want = exact(activation, x)
    allowed = oracle.unit(F16) * np.abs(want) + SHARE * np.abs(x.astype(F64)) + 2.0**-25
    assert (np.abs(y.astype(F64) - want) <= allowed).all()
