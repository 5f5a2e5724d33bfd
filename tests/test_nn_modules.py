"""nn/modules.py and nn/held.py: sparse linear layers against nn.Linear's formula in float64."""

import copy
import io
import pickle
import threading
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils import parametrizations, prune  # noqa: E402

import sparsecore as sc  # noqa: E402
from sparsecore.nn import CSRLinear, Sparse24Linear  # noqa: E402

KINDS = [CSRLinear, Sparse24Linear]
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def generator(seed: int = 0) -> Any:
    return torch.Generator().manual_seed(seed)


def pruned_24(k: int, m: int, *, bias: bool = True, dtype: Any = torch.float32) -> Any:
    """Return a linear layer with random weights of which each group of four keeps two at most."""
    linear = nn.Linear(k, m, bias=bias, dtype=dtype)
    with torch.no_grad():
        weight = torch.randn(m, k, generator=generator())
        linear.weight.copy_(weight.masked_fill(~sc.prune_24(weight), 0))
    return linear


def filled_csr(values: list[float], indices: list[int], indptr: list[int], k: int) -> Any:
    """Return a CSR layer loaded with the given arrays, without bias."""
    layer = CSRLinear(k, len(indptr) - 1, bias=False)
    layer.load_state_dict(csr_state(values, indices, indptr))
    return layer


def csr_state(values: list[float], indices: Any, indptr: Any) -> dict[str, Any]:
    return {
        "values": torch.tensor(values),
        "indices": torch.as_tensor(indices),
        "indptr": torch.as_tensor(indptr),
    }


def bound(linear: Any, x: Any) -> Any:
    """Return what rounding explains, ((k + 2) eps(acc) + eps(dtype)) (|x| |W|^T + |b|).

    acc is fp32 for fp16 and bf16. The first term is twice the bound of a sum of k + 1 terms, the
    second twice that of rounding the result.
    """
    dtype = x.dtype
    acc = torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype
    factor = (linear.in_features + 2) * torch.finfo(acc).eps + torch.finfo(dtype).eps
    size = x.double().abs() @ linear.weight.double().abs().T
    if linear.bias is not None:
        size = size + linear.bias.double().abs()
    return factor * size + torch.finfo(dtype).smallest_normal


def oracle(linear: Any, x: Any) -> Any:
    y = x.double() @ linear.weight.double().T
    return y if linear.bias is None else y + linear.bias.double()


# ---- the product ----


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("lead", [(), (1,), (5,), (2, 3), (0,), (2, 0)], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_forward_is_that_of_the_dense_layer(kind: Any, dtype: Any, lead: Any, bias: bool) -> None:
    linear = pruned_24(36, 7, bias=bias, dtype=dtype)
    x = torch.randn((*lead, 36), generator=generator(1)).to(dtype)
    with torch.no_grad():
        y = kind.from_dense(linear)(x)
        assert y.shape == (*lead, 7)
        assert y.dtype == dtype
        assert ((y.double() - oracle(linear, x)).abs() <= bound(linear, x)).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 6, 7, 8, 13])
def test_every_tail_of_columns(kind: Any, k: int) -> None:
    linear = pruned_24(k, 3)
    x = torch.randn(2, k, generator=generator(1))
    with torch.no_grad():
        y = kind.from_dense(linear)(x)
        assert ((y.double() - oracle(linear, x)).abs() <= bound(linear, x)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_of_any_strides(kind: Any) -> None:
    linear = pruned_24(12, 5)
    layer = kind.from_dense(linear)
    base = torch.randn(12, 4, 6, generator=generator(1))
    for x in (base.permute(2, 1, 0), base[:, ::2, 1].T, base[:, 0, :1].expand(12, 6).T):
        with torch.no_grad():
            assert ((layer(x).double() - oracle(linear, x)).abs() <= bound(linear, x)).all()


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


# ---- from and to dense ----


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


# ---- training ----


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_the_dense_layer_at_the_stored_positions(kind: Any) -> None:
    linear = pruned_24(12, 5, dtype=torch.float64)
    layer = kind.from_dense(linear)
    layer.bias = nn.Parameter(linear.bias.detach().clone())
    x = torch.randn(2, 3, 12, dtype=torch.float64, generator=generator(1))
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    for module, z in zip((linear, layer), inputs, strict=True):
        module(z).pow(2).sum().backward()
    # Sums of at most 12 * 6 terms of magnitude below 1e3, in fp64.
    close = {"rtol": 0.0, "atol": 72 * 1e3 * torch.finfo(torch.float64).eps}
    torch.testing.assert_close(inputs[1].grad, inputs[0].grad, **close)
    torch.testing.assert_close(layer.bias.grad, linear.bias.grad, **close)
    stored = linear.weight != 0
    gradient = copy.deepcopy(layer)
    gradient.values.data = layer.values.grad
    dense_gradient = gradient.to_dense().weight
    torch.testing.assert_close(dense_gradient[stored], linear.weight.grad[stored], **close)


@pytest.mark.parametrize("kind", KINDS)
def test_gradcheck(kind: Any) -> None:
    layer = kind.from_dense(pruned_24(8, 3, dtype=torch.float64))
    x = torch.randn(4, 8, dtype=torch.float64, generator=generator(1), requires_grad=True)

    def apply(values: Any, bias: Any, x: Any) -> Any:
        return torch.func.functional_call(layer, {"values": values, "bias": bias}, (x,))

    assert torch.autograd.gradcheck(apply, (layer.values, layer.bias, x))


@pytest.mark.parametrize("kind", KINDS)
def test_an_optimizer_step_is_seen_by_the_next_forward(kind: Any) -> None:
    layer = kind.from_dense(pruned_24(8, 3))
    x = torch.ones(1, 8)
    matrix = layer.matrix()
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
    layer(x).sum().backward()
    optimizer.step()
    linear = layer.to_dense()
    with torch.no_grad():
        assert ((layer(x).double() - oracle(linear, x)).abs() <= bound(linear, x)).all()
    assert layer.matrix() is matrix


@pytest.mark.parametrize("kind", KINDS)
def test_frozen_values_still_pass_the_gradient_on(kind: Any) -> None:
    layer = kind.from_dense(pruned_24(8, 3)).requires_grad_(False)
    x = torch.ones(2, 8, requires_grad=True)
    layer(x).sum().backward()
    expected = layer.to_dense().weight.sum(dim=0).expand(2, 8)
    # Sums of three numbers below 4 in magnitude, in fp32.
    torch.testing.assert_close(x.grad, expected, rtol=0.0, atol=12 * torch.finfo(torch.float32).eps)
    assert layer.values.grad is None


# ---- the structure in buffers ----


@pytest.mark.parametrize(("kind", "values"), [(CSRLinear, "data"), (Sparse24Linear, "values")])
def test_the_values_are_not_copied_and_the_matrix_is_kept(kind: Any, values: str) -> None:
    layer = kind.from_dense(pruned_24(8, 3))
    matrix = layer.matrix()
    assert getattr(matrix, values) is layer.values
    layer(torch.ones(1, 8))
    assert layer.matrix() is matrix


def test_an_edit_in_place_that_is_a_matrix_is_used() -> None:
    layer = filled_csr([1.0, 2.0], [0, 3], [0, 1, 2], k=4)
    x = torch.tensor([[1.0, 10.0, 100.0, 1000.0]])
    assert layer(x).tolist() == [[1.0, 2000.0]]
    layer.indices[1] = 2
    assert layer(x).tolist() == [[1.0, 200.0]]
    layer.indptr[1] = 2
    assert layer(x).tolist() == [[201.0, 0.0]]


@pytest.mark.parametrize(
    ("edit", "error", "message"),
    [
        (lambda layer: layer.indices.fill_(4), IndexError, "column 4"),
        (lambda layer: layer.indices.fill_(-1), IndexError, "column -1"),
        (lambda layer: layer.indptr.copy_(torch.tensor([0, 3, 2])), ValueError, "row"),
        (lambda layer: layer.indptr.copy_(torch.tensor([0, 1, 1])), ValueError, "ends with 1"),
        (lambda layer: setattr(layer, "indptr", torch.tensor([0, 2])), ValueError, "indptr"),
        (lambda layer: setattr(layer, "indices", torch.tensor([0.0, 1.0])), TypeError, "float"),
        (lambda layer: setattr(layer.values, "data", torch.zeros(3)), ValueError, "length 3"),
    ],
)
def test_an_edit_that_is_no_matrix_is_refused_at_the_next_use(
    edit: Any, error: Any, message: str
) -> None:
    layer = filled_csr([1.0, 2.0], [0, 3], [0, 1, 2], k=4)
    layer(torch.ones(1, 4))
    with torch.no_grad():
        edit(layer)
    for _ in range(2):
        with pytest.raises(error, match=message):
            layer(torch.ones(1, 4))


def test_columns_that_do_not_ascend_are_refused() -> None:
    layer = filled_csr([1.0, 2.0], [0, 3], [0, 2], k=4)
    layer.indices.copy_(torch.tensor([3, 0]))
    with pytest.raises(ValueError, match="not ascending and unique"):
        layer(torch.ones(1, 4))
    layer.indices.copy_(torch.tensor([3, 3]))
    with pytest.raises(ValueError, match=r"twice|duplicate"):
        layer(torch.ones(1, 4))


def test_a_buffer_exchanged_through_data_is_noticed() -> None:
    layer = filled_csr([1.0], [0], [0, 1], k=4)
    x = torch.tensor([[1.0, 10.0, 100.0, 1000.0]])
    for column in (1, 2, 3, 1):
        layer.indices.data = torch.tensor([column], dtype=torch.int8)
        assert layer(x).item() == 10.0**column


def test_edited_metadata_is_used_or_refused() -> None:
    layer = Sparse24Linear(8, 1, bias=False)
    x = torch.tensor([[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0]])
    with torch.no_grad():
        layer.values.copy_(torch.ones(1, 4))
    layer.metadata.fill_(0x44)  # columns 0 and 1 of both groups
    assert layer(x).item() == 1 + 2 + 16 + 32
    layer.metadata.fill_(0xE4)  # and now 2 and 3 of the second
    assert layer(x).item() == 1 + 2 + 64 + 128
    layer.metadata.fill_(0x40)
    with pytest.raises(ValueError, match=r"row 0.*group 0"):
        layer(x)
    layer.metadata = torch.zeros(1, 2, dtype=torch.uint8)
    with pytest.raises(ValueError, match="metadata has shape"):
        layer(x)


def test_buffers_made_in_inference_mode_work() -> None:
    with torch.inference_mode():
        layer = CSRLinear.from_dense(pruned_24(8, 3))
        inside = layer(torch.ones(1, 8))
    with torch.no_grad():
        assert torch.equal(layer(torch.ones(1, 8)), inside)


# ---- state_dict ----


@pytest.mark.parametrize("kind", KINDS)
def test_state_dict_holds_plain_tensors_and_loads_weights_only(kind: Any) -> None:
    layer = kind.from_dense(pruned_24(12, 5))
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    assert {type(tensor) for tensor in state.values()} == {torch.Tensor}
    assert {tensor.layout for tensor in state.values()} == {torch.strided}
    loaded = kind(12, 5)
    assert loaded.load_state_dict(state) == ([], [])
    x = torch.randn(3, 12, generator=generator(1))
    assert torch.equal(loaded(x), layer(x))
    assert {name: t.dtype for name, t in loaded.state_dict().items()} == {
        name: t.dtype for name, t in state.items()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_layer_is_zero(kind: Any) -> None:
    layer = kind(6, 3, dtype=torch.float64)
    assert layer(torch.ones(2, 6, dtype=torch.float64)).tolist() == [[0.0] * 3] * 2
    assert layer.to_dense().weight.tolist() == [[0.0] * 6] * 3
    assert kind(6, 3, bias=False).bias is None


def test_another_number_of_nonzeros_loads_into_the_same_parameter() -> None:
    layer = filled_csr([1.0, 2.0], [0, 3], [0, 1, 2], k=200)
    parameter = layer.values
    wide = csr_state([5.0, 6.0, 7.0], [0, 150, 199], [0, 3, 3])
    layer.load_state_dict(wide)
    assert layer.values is parameter
    assert layer.indices.dtype == torch.int16
    x = torch.zeros(200)
    x[[0, 150, 199]] = torch.tensor([1.0, 10.0, 100.0])
    assert layer(x).tolist() == [765.0, 0.0]


@pytest.mark.parametrize("kind", KINDS)
def test_loading_by_assignment_also_on_the_meta_device(kind: Any) -> None:
    source = kind.from_dense(pruned_24(12, 5))
    target = kind(12, 5).to("meta")
    target.load_state_dict(source.state_dict(), assign=True)
    x = torch.randn(3, 12, generator=generator(1))
    assert torch.equal(target(x), source(x))


def test_a_part_of_the_state_must_fit_what_the_layer_has() -> None:
    layer = filled_csr([1.0, 2.0], [0, 3], [0, 1, 2], k=4)
    layer.load_state_dict({"values": torch.tensor([3.0, 4.0])}, strict=False)
    assert layer(torch.ones(4)).tolist() == [3.0, 4.0]
    with pytest.raises(RuntimeError, match="length 3"):
        layer.load_state_dict({"values": torch.tensor([3.0, 4.0, 5.0])}, strict=False)
    with pytest.raises(RuntimeError, match=r"Missing key.*values.*indices.*indptr"):
        layer.load_state_dict({})


@pytest.mark.parametrize(
    ("indices", "indptr", "message"),
    [
        ([0, 4], [0, 1, 2], "column 4"),
        ([0, -1], [0, 1, 2], "column -1"),
        # These wrap to 0 and 1 where they are copied into int8 or int16 without a look.
        ([0, 256], [0, 1, 2], "column 256"),
        ([0, 2**16 + 1], [0, 1, 2], "column 65537"),
        ([0, 1], [0, 2**32 + 1, 2], "row"),
        ([0, 1], [0, 2, 1], "row"),
        ([0, 1], [1, 1, 2], "indptr"),
        ([0, 1], [0, 1, 3], "ends with 3"),
        ([0, 1], [0, 2], "indptr"),
        ([0, 1, 2], [0, 1, 2], "indices"),
        ([3, 0], [0, 2, 2], "ascending"),
        ([3, 3], [0, 2, 2], "duplicate|twice"),
        ([[0, 1]], [0, 1, 2], "indices"),
        (torch.tensor([0.0, 1.0]), [0, 1, 2], "float"),
        (torch.tensor([False, True]), [0, 1, 2], "bool"),
    ],
)
def test_a_state_that_is_no_csr_matrix_is_refused_and_changes_nothing(
    indices: Any, indptr: Any, message: str
) -> None:
    layer = filled_csr([1.0, 2.0], [0, 3], [0, 1, 2], k=4)
    before = copy.deepcopy(layer.state_dict())
    model = nn.Sequential(layer)
    state = {f"0.{key}": value for key, value in csr_state([3.0, 4.0], indices, indptr).items()}
    with pytest.raises(RuntimeError, match=rf"0\.\{{values,indices,indptr\}}.*({message})"):
        model.load_state_dict(state)
    assert all(torch.equal(layer.state_dict()[name], before[name]) for name in before)
    assert layer(torch.ones(4)).tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metadata": torch.tensor([[0x40]], dtype=torch.uint8)}, r"row 0.*group 0"),
        # As bytes these would be the valid 0x44.
        ({"metadata": torch.tensor([[0x144]])}, "uint8"),
        ({"metadata": torch.zeros(1, 2, dtype=torch.uint8)}, "metadata has shape"),
        ({"values": torch.zeros(1, 6)}, "values has shape"),
        ({"metadata": [[0x44]]}, "metadata is a list"),
    ],
)
def test_a_state_that_is_no_24_matrix_is_refused_and_changes_nothing(
    change: dict[str, Any], message: str
) -> None:
    layer = Sparse24Linear.from_dense(pruned_24(8, 1, bias=False))
    before = copy.deepcopy(layer.state_dict())
    with pytest.raises(RuntimeError, match=message):
        layer.load_state_dict({**before, **change})
    assert all(torch.equal(layer.state_dict()[name], before[name]) for name in before)


@pytest.mark.parametrize("kind", KINDS)
def test_safetensors_holds_the_state(kind: Any, tmp_path: Any) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    layer = kind.from_dense(pruned_24(300, 5))
    safetensors.save_file(layer.state_dict(), tmp_path / "layer.safetensors")
    loaded = kind(300, 5)
    loaded.load_state_dict(safetensors.load_file(tmp_path / "layer.safetensors"))
    x = torch.randn(3, 300, generator=generator(1))
    assert torch.equal(loaded(x), layer(x))


# ---- what torch does with modules ----


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_independent(kind: Any, duplicate: Any) -> None:
    layer = kind.from_dense(pruned_24(12, 5))
    x = torch.randn(3, 12, generator=generator(1))
    before = layer(x)
    twin = duplicate(layer)
    assert torch.equal(twin(x), before)
    with torch.no_grad():
        twin.values.zero_()
        twin.bias.zero_()
    assert torch.equal(twin(x), torch.zeros(3, 5))
    assert torch.equal(layer(x), before)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_casts(kind: Any, dtype: Any) -> None:
    linear = pruned_24(12, 5, dtype=torch.float64)
    layer = kind.from_dense(copy.deepcopy(linear))
    x = torch.randn(3, 12, generator=generator(1)).double()
    layer(x)
    layer.to(dtype)
    linear.to(dtype)
    assert layer.values.dtype == dtype
    x = x.to(dtype)
    with torch.no_grad():
        y = layer(x)
        assert y.dtype == dtype
        assert ((y.double() - oracle(linear, x)).abs() <= bound(linear, x)).all()
    assert not next(buffer for _, buffer in layer.named_buffers()).is_floating_point()


@pytest.mark.parametrize("kind", KINDS)
def test_another_device_is_an_error_at_use(kind: Any) -> None:
    layer = kind.from_dense(pruned_24(8, 3)).to("meta")
    with pytest.raises(RuntimeError, match=r"on meta, but its kernels run on the CPU.*to_dense"):
        layer(torch.ones(2, 8))
    assert kind.__name__ in repr(layer)


class _ThroughLayer(torch.utils.data.Dataset):
    def __init__(self, layer: Any) -> None:
        self.layer = layer

    def __len__(self) -> int:
        return 4

    def __getitem__(self, row: int) -> Any:
        with torch.no_grad():
            return self.layer(torch.full((8,), float(row)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_data_loader_workers_run_the_layer(kind: Any, context: str) -> None:
    layer = kind.from_dense(pruned_24(8, 3))
    dataset = _ThroughLayer(layer)
    layer(torch.ones(64, 8))  # threads of this process exist before the fork
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=2, num_workers=1, multiprocessing_context=context, timeout=60
    )
    assert torch.equal(torch.cat(list(loader)), torch.stack([dataset[row] for row in range(4)]))


@pytest.mark.parametrize("kind", KINDS)
def test_shared_memory(kind: Any) -> None:
    layer = kind.from_dense(pruned_24(8, 3))
    x = torch.ones(2, 8)
    before = layer(x)
    layer.share_memory()
    assert all(tensor.is_shared() for tensor in layer.state_dict().values())
    assert torch.equal(layer(x), before)


@pytest.mark.parametrize("kind", KINDS)
def test_threads_share_a_layer(kind: Any) -> None:
    layer = kind.from_dense(pruned_24(64, 32))
    layer._held = None
    x = torch.randn(16, 64, generator=generator(1))
    expected = copy.deepcopy(layer)(x).detach()
    results: list[Any] = []

    def work() -> None:
        with torch.no_grad():
            results.extend(layer(x) for _ in range(10))

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(results) == 80
    assert all(torch.equal(result, expected) for result in results)


# ---- what it says of itself ----


def test_repr_says_format_sparsity_dtype_kernel_and_bytes() -> None:
    layer = filled_csr([1.0, 2.0], [0, 3], [0, 1, 2], k=4)
    expected = (
        "CSRLinear(in_features=4, out_features=2, bias=False, format=csr, sparsity=0.750, "
        "dtype=float32, kernel=row_sweep, bytes=13)"
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
