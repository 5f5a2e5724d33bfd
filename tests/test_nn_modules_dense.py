"""nn/modules.py: sparse layers made from a dense one, and made dense again."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils import parametrizations, prune  # noqa: E402

from linear_layers import KINDS, pruned_24  # noqa: E402
from sparsecore.nn import CSRLinear, Sparse24Linear  # noqa: E402


def test_csr_drops_zeros_of_both_signs_and_keeps_nan() -> None:
    linear = nn.Linear(4, 2, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[-0.0, 2.0, 0.0, 0.0], [torch.nan, 0.0, -0.0, 3.0]]))
    layer = CSRLinear.from_dense(linear)
    assert layer.values.shape == (3,)
    assert layer.values[[0, 2]].tolist() == [2.0, 3.0]
    assert layer.values[1].isnan()
    assert layer.indices.tolist() == [1, 0, 3]
    assert layer.indptr.tolist() == [0, 1, 3]
    assert layer.bias is None


@pytest.mark.parametrize(
    ("columns", "dtype"),
    [(128, torch.int8), (129, torch.int16), (2**15, torch.int16), (2**15 + 1, torch.int32)],
)
def test_columns_take_the_narrowest_signed_integers(columns: int, dtype: Any) -> None:
    linear = nn.Linear(columns, 1, bias=False)
    with torch.no_grad():
        linear.weight.zero_()[0, -1] = 1.0
    layer = CSRLinear.from_dense(linear)
    assert layer.indices.dtype == dtype
    assert layer.indices.tolist() == [columns - 1]


@pytest.mark.parametrize(
    ("nnz", "dtype"), [(127, torch.int8), (128, torch.int16), (2**15, torch.int32)]
)
def test_offsets_take_the_narrowest_signed_integers(nnz: int, dtype: Any) -> None:
    linear = nn.Linear(2**15, 1, bias=False)
    with torch.no_grad():
        linear.weight.zero_()[0, :nnz] = 1.0
    layer = CSRLinear.from_dense(linear)
    assert layer.indptr.dtype == dtype
    assert layer.indptr.tolist() == [0, nnz]


def test_weights_that_are_not_24_name_row_and_group() -> None:
    linear = pruned_24(12, 4)
    with torch.no_grad():
        linear.weight[2, 8:11] = 1.0
    with pytest.raises(ValueError, match=r"row 2.*group 2"):
        Sparse24Linear.from_dense(linear)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", [True, False])
def test_to_dense_gives_back_the_layer_and_draws_no_random_numbers(kind: Any, bias: bool) -> None:
    linear = pruned_24(10, 6, bias=bias).eval()
    layer = kind.from_dense(linear)
    state = torch.get_rng_state()
    dense = layer.to_dense()
    assert torch.equal(torch.get_rng_state(), state)
    assert type(dense) is nn.Linear
    assert (dense.in_features, dense.out_features, dense.training) == (10, 6, False)
    assert torch.equal(dense.weight, linear.weight)
    assert dense.weight.requires_grad
    if bias:
        assert torch.equal(dense.bias, linear.bias)
        assert dense.bias is not linear.bias
    else:
        assert dense.bias is None


@pytest.mark.parametrize("kind", KINDS)
def test_from_dense_shares_the_bias_and_copies_the_weight(kind: Any) -> None:
    linear = pruned_24(8, 4)
    linear.weight.requires_grad_(False)
    layer = kind.from_dense(linear)
    assert layer.bias is linear.bias
    assert not layer.values.requires_grad
    with torch.no_grad():
        linear.weight.fill_(7.0)
    assert not (layer.values == 7.0).any()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_plain_linear_is_refused(kind: Any) -> None:
    with pytest.raises(TypeError, match="linear is a Conv2d"):
        kind.from_dense(nn.Conv2d(1, 1, 1))
    with pytest.raises(ValueError, match="NonDynamicallyQuantizableLinear"):
        kind.from_dense(nn.MultiheadAttention(8, 2).out_proj)
    masked = pruned_24(8, 4)
    prune.random_unstructured(masked, "weight", amount=0.5)
    with pytest.raises(ValueError, match=r"prune\.remove"):
        kind.from_dense(masked)
    with pytest.raises(ValueError, match="remove_parametrizations"):
        kind.from_dense(parametrizations.weight_norm(pruned_24(8, 4)))
    hooked = pruned_24(8, 4)
    hooked.register_forward_hook(lambda *_: None)
    with pytest.raises(ValueError, match="hooks"):
        kind.from_dense(hooked)
    patched = pruned_24(8, 4)
    patched.forward = lambda x: x
    with pytest.raises(ValueError, match="forward was replaced"):
        kind.from_dense(patched)


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_layer_is_zero(kind: Any) -> None:
    layer = kind(6, 3, dtype=torch.float64)
    assert layer(torch.ones(2, 6, dtype=torch.float64)).tolist() == [[0.0] * 3] * 2
    assert layer.to_dense().weight.tolist() == [[0.0] * 6] * 3
    assert kind(6, 3, bias=False).bias is None
