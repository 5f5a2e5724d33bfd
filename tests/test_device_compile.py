"""Products on a device as operators of torch: by tensors, compiled and exported."""

import numpy as np
import pytest

import cases
import device_cases
import oracle
import sparsecore as sc
from device_cases import back, tensor
from oracle import F64

torch = pytest.importorskip("torch", reason="torch is not installed")

from compiling import check_training, compiled  # noqa: E402

pytestmark = pytest.mark.gpu

ROWS, COLUMNS = 6, 10


@pytest.fixture
def operand(gpu):
    torch._dynamo.reset()
    made = device_cases.random_operand(np.random.default_rng(1), (ROWS, COLUMNS), 0.4, F64, gpu)
    made.matrix.data.requires_grad_()
    yield made
    torch._dynamo.reset()


def numbers(gpu, *shape):
    return tensor(cases.numbers(np.random.default_rng(2), shape, F64), gpu).requires_grad_()


def test_products_of_matrices_that_tensors_name(gpu, operand):
    A, X = operand.matrix, numbers(gpu, COLUMNS, 9).detach()
    U = numbers(gpu, ROWS, 9).detach()
    named = (A.indices, A.indptr, [ROWS, COLUMNS])
    matmul, sddmm = torch.ops.sparsecore.csr_matmul, torch.ops.sparsecore.csr_sddmm
    for got, want in (
        (matmul(X, A.data, *named), A @ X),
        (matmul(U, A.data, *named, True), A.T @ U),
        (matmul(X.t(), A.data, *named, False, True, activation="relu"), sc.linear(X.t(), A).relu()),
        (sddmm(U, X, *named), sc.csr_sddmm(A, U, X)),
    ):
        torch.testing.assert_close(got, want)
    matmul(X, A.data, *named).sum().backward()
    want = (np.ones((ROWS, 9)) @ back(X).T)[np.nonzero(operand.stored)]
    np.testing.assert_allclose(back(A.data.grad), want, rtol=1e-12)


def test_columns_that_are_not_ascending_are_refused(gpu, operand):
    A, X = operand.matrix, numbers(gpu, COLUMNS, 2).detach()
    assert A.indptr[1] >= 2, "this test swaps the first two columns of a row"
    columns = A.indices
    columns[:2] = columns[:2].flip(0)
    with pytest.raises(ValueError, match="the columns of a row in indices are not ascending"):
        torch.ops.sparsecore.csr_matmul(X, A.data, columns, A.indptr, [ROWS, COLUMNS])
    columns = A.indices.clone()
    matmul = torch.ops.sparsecore.csr_matmul
    matmul(X, A.data, columns, A.indptr, [ROWS, COLUMNS])
    columns[0] = COLUMNS
    with pytest.raises(IndexError, match=f"column {COLUMNS}"):
        matmul(X, A.data, columns, A.indptr, [ROWS, COLUMNS])


def test_compiled_products_and_their_gradients(gpu, operand):
    A = operand.matrix
    X, Z, x = numbers(gpu, COLUMNS, 3), numbers(gpu, ROWS, 3), numbers(gpu, 2, 3, COLUMNS)
    bias, residual = numbers(gpu, ROWS), numbers(gpu, 2, 3, ROWS)
    given = {"scale": numbers(gpu, ROWS).detach(), "residual": residual, "activation": "gelu"}

    def function():
        layer = sc.linear(x, A, bias, **given).sum()
        Y = sc.csr_matmul(A.T, sc.csr_matmul(A, X))
        return Y * layer + sc.csr_sddmm(A, Z, X).sum()

    check_training(function, (A.data, X, Z, x, bias, residual))


def test_compiled_products_of_plans(gpu, operand):
    P = operand.matrix.prepare(backward=True)
    X = numbers(gpu, COLUMNS, 3)
    check_training(lambda: sc.csr_matmul(P, X), (X,))


def test_the_result_of_a_graph_follows_the_order_of_x(gpu, operand):
    A, X = operand.matrix.with_data(operand.matrix.data.detach()), numbers(gpu, 3, COLUMNS)
    with torch.no_grad():
        Y = compiled(lambda x: sc.csr_matmul(A, x))(X.t())
        assert Y.stride() == sc.csr_matmul(A, X.t()).stride() == (1, ROWS)


def test_an_exported_program_holds_the_matrix(gpu, operand):
    class Module(torch.nn.Module):
        def forward(self, x):
            return sc.linear(x, operand.matrix)

    x = numbers(gpu, 3, COLUMNS).detach()
    program = torch.export.export(Module(), (x,), strict=False)
    got = program.module()(x)
    want = oracle.product(operand.W, operand.stored, back(x).T, F64)
    oracle.check(back(got).T, want, "exported")
