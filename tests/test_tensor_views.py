"""Tensors as the core reads them: by DLPack's exchange where torch offers it, else by numpy()."""

from typing import Any

import numpy as np
import pytest

import sparsecore as sc
from sparsecore import _core, interop
from sparsecore.interop import VALUE_DTYPES

torch = pytest.importorskip("torch")

EXCHANGE = "__dlpack_c_exchange_api__"


def _tensor(name: str) -> Any:
    return (torch.arange(24) - 7).to(getattr(torch, name)).reshape(4, 6)


@pytest.mark.skipif(not hasattr(torch.Tensor, EXCHANGE), reason="this torch has no exchange")
@pytest.mark.parametrize("name", VALUE_DTYPES)
def test_views_are_the_tensors_memory(name: str) -> None:
    tensor = _tensor(name)
    for part in (
        tensor,
        tensor.T,
        tensor[1:, ::2],
        tensor[2],
        tensor[0, 0],
        tensor[:1].expand(3, 6),
    ):
        view = _core.tensor_view(part)
        assert view is not None
        assert view.dtype == VALUE_DTYPES[name]
        assert view.shape == tuple(part.shape)
        assert view.base is part
        assert view.ctypes.data == part.data_ptr()
        assert view.tolist() == part.tolist()


def test_a_parameter_is_viewed_without_its_graph() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    assert interop.to_numpy(weight, name="X").tolist() == [1, 1, 1]
    with torch.no_grad():
        y = sc.csr_matmul(sc.CSR.from_dense(np.eye(3, dtype=np.float32)), weight)
    assert not y.requires_grad


@pytest.mark.parametrize(
    "other",
    [None, 1.0, "text", np.ones(2), torch.ones(2).to_sparse(), torch.ones(2, device="meta")],
)
def test_what_is_no_strided_cpu_tensor_is_left_to_others(other: Any) -> None:
    assert _core.tensor_view(other) is None


def test_negated_memory_is_refused() -> None:
    X = torch.complex(torch.ones(2), torch.ones(2)).conj().imag
    assert X.is_neg()
    A = sc.CSR.from_dense(torch.eye(2))
    for call in (lambda: A @ X, lambda: A.prepare() @ X, lambda: sc.linear(X, A)):
        with pytest.raises(RuntimeError, match="neg"):
            call()


@pytest.mark.parametrize("name", VALUE_DTYPES)
@pytest.mark.parametrize("has_exchange", [True, False])
def test_products_are_the_same_with_and_without_the_exchange(
    name: str, has_exchange: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_exchange and hasattr(torch.Tensor, EXCHANGE):
        monkeypatch.delattr(torch.Tensor, EXCHANGE)
    W = torch.tensor([[1.0, 0, 3, 0], [0, -2, 0, 1]]).to(getattr(torch, name))
    X = _tensor(name)
    A = sc.CSR.from_dense(W)
    expected = (W.double() @ X.double()).tolist()  # small integers: exact in every dtype
    out = torch.empty_like(sc.csr_matmul(A, X))
    for left in (A, A.prepare()):
        y = left @ X
        assert isinstance(y, torch.Tensor)
        assert y.double().tolist() == expected
        assert sc.csr_matmul(left, X, out=out) is out
        assert out.double().tolist() == expected
        assert sc.linear(X.T, left).T.double().tolist() == expected


def test_out_and_x_of_different_kinds_are_refused() -> None:
    A = sc.CSR.from_dense(np.eye(2))
    for X, out in ((torch.ones(2).double(), np.empty(2)), (np.ones(2), torch.empty(2).double())):
        with pytest.raises(TypeError, match="expected the same kind"):
            sc.csr_matmul(A, X, out=out)
