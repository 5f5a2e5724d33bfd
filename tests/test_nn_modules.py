"""nn/modules.py: what the sparse layers compute, refuse as input, and say of themselves."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from linear_layers import DTYPES, KINDS, check_forward, filled_csr, generator, pruned_24  # noqa: E402
from sparsecore.nn import Sparse24Linear  # noqa: E402

# ---- the product ----


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("lead", [(), (1,), (5,), (2, 3), (0,), (2, 0)], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_forward_is_that_of_the_dense_layer(kind: Any, dtype: Any, lead: Any, bias: bool) -> None:
    linear = pruned_24(36, 7, bias=bias, dtype=dtype)
    x = torch.randn((*lead, 36), generator=generator(1)).to(dtype)
    check_forward(kind.from_dense(linear), linear, x)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 6, 7, 8, 13])
def test_every_tail_of_columns(kind: Any, k: int) -> None:
    linear = pruned_24(k, 3)
    check_forward(kind.from_dense(linear), linear, torch.randn(2, k, generator=generator(1)))


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_of_any_strides(kind: Any) -> None:
    linear = pruned_24(12, 5)
    layer = kind.from_dense(linear)
    base = torch.randn(12, 4, 6, generator=generator(1))
    for x in (base.permute(2, 1, 0), base[:, ::2, 1].T, base[:, 0, :1].expand(12, 6).T):
        check_forward(layer, linear, x)


@pytest.mark.parametrize("kind", KINDS)
def test_the_argument_has_the_name_that_it_has_in_nn_linear(kind: Any) -> None:
    layer = kind.from_dense(pruned_24(8, 3))
    assert torch.equal(layer(input=torch.ones(8)), layer(torch.ones(8)))


@pytest.mark.parametrize("kind", KINDS)
def test_an_input_that_is_no_tensor_is_refused_by_name(kind: Any) -> None:
    layer = kind.from_dense(pruned_24(8, 4))
    message = rf"{kind.__name__}: input is a numpy\.ndarray, expected a torch\.Tensor"
    with pytest.raises(TypeError, match=message):
        layer(torch.ones(2, 8).numpy())


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_number_of_features_is_an_error(kind: Any) -> None:
    with pytest.raises(ValueError, match="5 features, A has 8 columns"):
        kind.from_dense(pruned_24(8, 3))(torch.zeros(2, 5))


# ---- what they say of themselves ----


def test_repr_says_format_sparsity_dtype_kernel_and_bytes() -> None:
    layer = filled_csr([1.0, 2.0], [0, 3], [0, 1, 2], k=4)
    expected = (
        "CSRLinear(in_features=4, out_features=2, bias=False, format=csr, sparsity=0.750, "
        "dtype=float32, kernel=per call, bytes=13)"
    )
    assert repr(layer) == expected  # 2 values of 4 bytes, 2 columns and 3 offsets of 1 byte
    half = Sparse24Linear(8, 2, dtype=torch.float16)
    assert "format=2:4, sparsity=0.500, dtype=float16, kernel=sparse24, bytes=18" in repr(half)


def test_bytes_count_the_kernels_copy_once_it_is_made() -> None:
    layer = filled_csr([1.0, 2.0], [0, 3], [0, 1, 2], k=4)
    assert layer.nbytes == 2 * 4 + 2 + 3
    layer(torch.ones(4))
    assert layer.nbytes == 2 * 4 + 2 * (2 + 3)
    half = Sparse24Linear(8, 2, dtype=torch.float16)
    half(torch.ones(8, dtype=torch.float16))
    assert half.nbytes == 2 * 4 * 2 + 2 * 2
