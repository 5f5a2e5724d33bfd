"""What products on a device refuse: with the host's errors, word for word."""

import numpy as np
import pytest

import device_cases
import sparsecore as sc
from device_cases import back, tensor
from sparsecore.cuda import products

torch = pytest.importorskip("torch", reason="torch is not installed")

pytestmark = pytest.mark.gpu

ROWS, COLUMNS = 4, 6


def ones(*shape, dtype=np.float32):
    return np.ones(shape, dtype)


X, BIAS = ones(COLUMNS, 3), ones(ROWS)


def matmul(A, X, **given):
    return sc.csr_matmul(A, X, **given)


def layer(A, x, **given):
    return sc.linear(x, A, **given)


def turned(A, X, **given):
    return sc.csr_matmul(A.T, X, **given)


# The function, the right side, and other arguments.
BAD = [
    (matmul, ones(5, 3), {}),
    (matmul, ones(5), {}),
    (turned, ones(COLUMNS, 3), {}),
    (matmul, ones(2, COLUMNS, 3), {}),
    (matmul, np.float32(1), {}),
    (matmul, ones(COLUMNS, 3, dtype=np.int32), {}),
    (matmul, ones(COLUMNS, 3, dtype=np.uint8), {}),
    (matmul, ones(COLUMNS, 3, dtype=np.complex64), {}),
    (matmul, ones(COLUMNS, 3, dtype=np.float64), {}),
    (matmul, ones(COLUMNS, 3, dtype=np.int8), {}),
    (matmul, X, {"scale": ones(5)}),
    (matmul, X, {"scale": ones(0)}),
    (matmul, X, {"scale": ones(ROWS, 1)}),
    (matmul, X, {"scale": ones(ROWS, dtype=np.int8)}),
    (turned, ones(ROWS, 3), {"scale": ones(ROWS)}),
    (matmul, X, {"out": ones(ROWS, 2)}),
    (matmul, X, {"out": ones(3, ROWS)}),
    (matmul, X, {"out": ones(ROWS * 3)}),
    (matmul, X, {"out": ones(ROWS, 3, dtype=np.float64)}),
    (matmul, X, {"out": ones(ROWS, 3, dtype=np.int64)}),
    (matmul, X, {"threads": 0}),
    (matmul, X, {"threads": 1.5}),
    (layer, ones(3, 5), {}),
    (layer, np.float32(1), {}),
    (layer, ones(3, COLUMNS), {"bias": ones(5)}),
    (layer, ones(3, COLUMNS), {"bias": ones(ROWS, 1)}),
    (layer, ones(3, COLUMNS), {"bias": ones(ROWS, dtype=np.int8)}),
    (layer, ones(3, COLUMNS), {"bias": ones(ROWS, dtype=np.int64)}),
    (layer, ones(3, COLUMNS), {"residual": ones(ROWS)}),
    (layer, ones(2, 3, COLUMNS), {"residual": ones(6, ROWS)}),
    (layer, ones(3, COLUMNS), {"residual": ones(3, ROWS, dtype=np.float64)}),
    (layer, ones(3, COLUMNS), {"out": ones(3, COLUMNS)}),
    (layer, ones(2, 3, COLUMNS), {"out": ones(2, 3, ROWS, dtype=np.float64)}),
    (layer, ones(3, COLUMNS), {"activation": "tanh"}),
    (layer, ones(3, COLUMNS), {"threads": 5000}),
]


def raised(call):
    with pytest.raises((TypeError, ValueError, OverflowError)) as caught:
        call()
    return type(caught.value), str(caught.value)


@pytest.mark.parametrize("case", range(len(BAD)))
def test_the_words_of_the_host(case, gpu):
    function, right, given = BAD[case]
    A = sc.CSR.from_dense(np.eye(ROWS, COLUMNS, dtype=np.float32))
    moved = {k: tensor(v, gpu) if isinstance(v, np.ndarray) else v for k, v in given.items()}
    there = raised(lambda: function(device_cases.on(A, gpu), tensor(right, gpu), **moved))
    assert there == raised(lambda: function(A, right, **given))


def test_int8_values_need_factors_and_take_no_activation(gpu):
    A = sc.CSR.from_dense(np.eye(ROWS, COLUMNS, dtype=np.int8))
    for x, given in (
        (ones(3, COLUMNS), {}),
        (ones(3, COLUMNS, dtype=np.int8), {"activation": "relu"}),
        (ones(3, COLUMNS, dtype=np.int8), {"bias": BIAS}),
    ):
        moved = {k: tensor(v, gpu) if isinstance(v, np.ndarray) else v for k, v in given.items()}
        there = raised(lambda: layer(device_cases.on(A, gpu), tensor(x, gpu), **moved))  # noqa: B023
        assert there == raised(lambda: layer(A, x, **given))  # noqa: B023


def test_out_that_shares_memory_is_refused(gpu):
    A = device_cases.operand(np.eye(ROWS, ROWS, dtype=np.float32), gpu).matrix
    X = torch.ones(ROWS, ROWS, device=gpu)
    with pytest.raises(ValueError, match="csr_matmul: out overlaps X in memory"):
        sc.csr_matmul(A, X, out=X)
    for left in (A, A.T):
        with pytest.raises(ValueError, match="csr_matmul: out overlaps A's values in memory"):
            sc.csr_matmul(left, X[:, 0], out=A.data)
    for name in ("scale", "bias", "residual"):
        shared = X[0] if name != "residual" else X
        with pytest.raises(ValueError, match=f"linear: out overlaps {name} in memory"):
            sc.linear(torch.ones(ROWS, ROWS, device=gpu), A, **{name: shared}, out=X)
    with pytest.raises(ValueError, match="csr_matmul: out has elements that share memory"):
        sc.csr_matmul(A, X, out=torch.ones(ROWS, 1, device=gpu).expand(ROWS, ROWS))
    assert (back(X) == 1).all()


def test_other_kinds_and_layouts_are_named(gpu):
    A = device_cases.operand(np.eye(ROWS, COLUMNS, dtype=np.float32), gpu).matrix
    moved = tensor(X, gpu)
    place = f"A is on device '{A.data.device}'"
    for left in (A, A.T, A.prepare()):
        with pytest.raises(TypeError, match=f"csr_matmul: {place}, X is a ndarray; expected a te"):
            sc.csr_matmul(left, X)
    with pytest.raises(TypeError, match=f"linear: {place}, bias is a ndarray"):
        sc.linear(moved.t(), A, BIAS)
    with pytest.raises(TypeError, match="csr_matmul: X is a torch tensor, out is a numpy array"):
        sc.csr_matmul(A, moved, out=ones(ROWS, 3))
    with pytest.raises(TypeError, match=r"X has layout torch.sparse_coo, expected torch.strided"):
        sc.csr_matmul(A, moved.to_sparse())
    negated = torch.ones(COLUMNS, dtype=torch.complex64, device=gpu).conj().imag
    with pytest.raises(TypeError, match=r"X is a negated view .* pass X.resolve_neg\(\)"):
        sc.csr_matmul(A, negated)
    with pytest.raises(TypeError, match=r"conv2d: A is on device .*, expected 'cpu'"):
        sc.conv2d(torch.ones(1, COLUMNS, 2, 2, device=gpu), A, kernel_size=1)


def test_operands_of_another_device_are_named(gpu):
    if gpu.type == "cpu":
        pytest.skip("an emulated device is the processor: there is no other place")
    A = device_cases.operand(np.eye(ROWS, COLUMNS, dtype=np.float32), gpu).matrix
    with pytest.raises(TypeError, match="A is on device 'cuda:0', X on 'cpu'; expected the same"):
        sc.csr_matmul(A, torch.ones(COLUMNS, 3))
    with pytest.raises(TypeError, match="X is on device 'cuda:0', expected 'cpu'"):
        sc.csr_matmul(sc.CSR.from_dense(torch.eye(3)), torch.ones(3, device=gpu))


def test_int8_sums_that_may_leave_int32_are_refused(gpu):
    """-128 times -128, 131072 times, is 2^31: one more than int32 holds."""
    most = products.LONGEST_INT8_ROW
    dense = np.full((1, most + 1), -128, np.int8)
    X = tensor(dense.T, gpu)
    longest = device_cases.operand(dense[:, :most], gpu).matrix
    assert (longest @ X[:most]).tolist() == [[most * 2**14]]
    A = device_cases.operand(dense, gpu).matrix
    for _ in range(2):
        with pytest.raises(OverflowError, match="csr_matmul: A has a row of 131072 entries"):
            A @ X


def test_the_bound_of_int8_sums_is_that_of_the_rows_that_are_summed(gpu, monkeypatch):
    monkeypatch.setattr(products, "LONGEST_INT8_ROW", 3)
    dense = np.zeros((5, 9), np.int8)
    dense[:4, 0] = dense[1, :3] = 1
    for A in (device_cases.operand(dense, gpu).matrix, device_cases.operand(dense.T, gpu).matrix.T):
        wide = torch.ones(9, 2, device=gpu)
        assert (A @ wide.char()).tolist() == [[1, 1], [3, 3], [1, 1], [1, 1], [0, 0]]
        with pytest.raises(OverflowError, match=r"a row of 4 entries, .* takes 3 at most"):
            A.T @ wide[:5].char()
        factors = torch.ones(9, device=gpu)
        scaled = sc.csr_matmul(A.T, wide[:5], scale=factors)
        assert scaled[:, 0].tolist() == [4, 1, 1] + [0] * 6, "a floating X has no such bound"
