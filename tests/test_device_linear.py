"""Layers on a device: what follows the product, and any number of axes."""

import numpy as np
import pytest

import cases
import device_cases
import oracle
import sparsecore as sc
from device_cases import back, tensor
from oracle import BF16, F16, F32, F64

torch = pytest.importorskip("torch", reason="torch is not installed")

pytestmark = pytest.mark.gpu

ACTIVATIONS = {
    None: lambda y: y,
    "relu": torch.relu,
    "gelu": torch.nn.functional.gelu,
    "silu": torch.nn.functional.silu,
}


def expected(x, operand, scale=None, bias=None, residual=None, activation=None):
    """Return the layer's result in float64."""
    y = torch.from_numpy(x.astype(np.float64) @ operand.W.T)
    for value, apply in ((scale, torch.mul), (bias, torch.add), (residual, torch.add)):
        if value is not None:
            y = apply(y, torch.from_numpy(value.astype(np.float64)))
    return ACTIVATIONS[activation](y).numpy()


def check(y, want, dtype):
    """Compare within ten roundings: sums here have a dozen terms near 1."""
    assert back(y).dtype == dtype
    assert back(y).shape == want.shape
    near = 20 * oracle.unit(dtype)
    np.testing.assert_allclose(back(y).astype(np.float64), want, rtol=near, atol=near * 4)


@pytest.mark.parametrize("dtype", [F64, F32, F16, BF16], ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_what_follows_a_product(dtype, activation, gpu):
    rng = np.random.default_rng(1)
    operand = device_cases.random_operand(rng, (12, 30), 0.3, dtype, gpu)
    for rows in (3, 20):
        x, residual = (cases.numbers(rng, (rows, n), dtype) for n in (30, 12))
        given = {
            "scale": cases.numbers(rng, 12, F32),
            "bias": cases.numbers(rng, 12, dtype),
            "residual": residual,
        }
        moved = {name: tensor(value, gpu) for name, value in given.items()}
        y = sc.linear(tensor(x, gpu), operand.matrix, activation=activation, **moved)
        check(y, expected(x, operand, activation=activation, **given), dtype)


@pytest.mark.parametrize("shape", [(30,), (2, 30), (2, 3, 30), (2, 1, 9, 30), (0, 30), (2, 0, 30)])
def test_any_number_of_leading_axes(shape, gpu):
    rng = np.random.default_rng(2)
    operand = device_cases.random_operand(rng, (12, 30), 0.3, F32, gpu)
    x, bias = cases.numbers(rng, shape, F32), cases.numbers(rng, 12, F32)
    residual = cases.numbers(rng, (*shape[:-1], 12), F32)
    given = {"bias": bias, "residual": residual}
    moved = {name: tensor(value, gpu) for name, value in given.items()}
    out = torch.full((*shape[:-1], 12), 77.0, device=gpu)
    check(sc.linear(tensor(x, gpu), operand.matrix, **moved), expected(x, operand, **given), F32)
    assert sc.linear(tensor(x, gpu), operand.matrix, out=out, **moved) is out
    check(out, expected(x, operand, **given), F32)


def test_axes_in_another_order_and_an_out_that_is_no_rows(gpu):
    rng = np.random.default_rng(3)
    operand = device_cases.random_operand(rng, (12, 30), 0.3, F32, gpu)
    x = cases.numbers(rng, (4, 3, 30), F32)
    want = expected(x, operand)
    turned = tensor(np.ascontiguousarray(x.transpose(2, 1, 0)), gpu).permute(2, 1, 0)
    beside = torch.full((12, 3, 5), 77.0, device=gpu)
    out = beside.permute(2, 1, 0)[:4]
    check(sc.linear(turned, operand.matrix), want, F32)
    assert sc.linear(turned, operand.matrix, out=out) is out
    check(out, want, F32)
    assert (back(beside)[:, :, 4] == 77).all(), "something beside `out` was written"


def test_a_column_major_batch_gives_a_column_major_result(gpu):
    rng = np.random.default_rng(4)
    operand = device_cases.random_operand(rng, (12, 30), 0.3, F32, gpu)
    x = cases.numbers(rng, (10, 30), F32)
    y = sc.linear(tensor(np.asfortranarray(x), gpu), operand.matrix)
    check(y, expected(x, operand), F32)
    assert y.stride() == (1, 10)


def test_int8_values_with_a_scale_of_each_row(gpu):
    rng = np.random.default_rng(5)
    operand = device_cases.random_operand(rng, (12, 30), 0.3, oracle.I8, gpu)
    x, scale = cases.numbers(rng, (9, 30), F32), cases.factors(rng, 12, F32)
    y = sc.linear(tensor(x, gpu), operand.matrix, scale=tensor(scale, gpu))
    check(y, expected(x, operand, scale=scale), F32)


def test_the_transpose_of_a_matrix_and_a_dense_one(gpu):
    rng = np.random.default_rng(6)
    operand = device_cases.random_operand(rng, (30, 12), 0.3, F64, gpu)
    x = cases.numbers(rng, (5, 30), F64)
    want = x @ operand.W
    check(sc.linear(tensor(x, gpu), operand.matrix.T), want, F64)
    dense = tensor(operand.W.T.copy(), gpu)
    check(sc.linear(tensor(x, gpu), dense), want, F64)
    both = torch.zeros(5, 24, dtype=torch.float64, device=gpu)
    out = both[:, :12]
    assert sc.linear(tensor(x, gpu), dense, out=out) is out
    check(out, want, F64)
    with pytest.raises(ValueError, match="linear: out overlaps residual in memory"):
        sc.linear(tensor(x, gpu), dense, residual=both[:, 12:], out=out)
