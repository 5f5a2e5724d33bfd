"""nn/conv.py: state, copies, preparing, training and sharing of sparse convolutions."""

import copy
import io
import pickle
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from conv_layers import SHAPES, check_forward, images, pruned, sparse  # noqa: E402
from linear_layers import DTYPES  # noqa: E402
from sparsecore.nn import CSRConv2d  # noqa: E402


def saved(state: Any) -> Any:
    """Return what torch.load makes of a saved state."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


# ---- written and read ----


@pytest.mark.parametrize("prepared", [True, False])
@pytest.mark.parametrize("options", SHAPES[:3], ids=str)
def test_state_goes_out_and_in(options: Any, prepared: bool) -> None:
    layer, other = sparse(**options), sparse(seed=4, **options)
    assert layer.values.shape != other.values.shape
    if prepared:
        layer.prepare_()
        other.prepare_()
    state = saved(layer.state_dict())
    assert list(state) == ["values", "bias", "indices", "indptr"]
    assert {type(tensor) for tensor in state.values()} == {torch.Tensor}
    assert other.load_state_dict(state) == ([], [])
    assert (other._plan is not None) == prepared
    empty = CSRConv2d(4, 8, **({"stride": 1} | options | {"padding": layer.geometry.padding}))
    empty.load_state_dict(state)
    x = images()
    assert torch.equal(other(x), layer(x))
    assert torch.equal(empty(x), layer(x))


@pytest.mark.parametrize("prepared", [True, False])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"indices": torch.tensor([0, 36])}, "column 36"),
        ({"indices": torch.tensor([0, -1])}, "column -1"),
        ({"indices": torch.tensor([3, 0])}, "ascending"),
        ({"indices": torch.tensor([3, 3])}, "duplicate|twice"),
        ({"indices": torch.tensor([0.0, 1.0])}, "float"),
        ({"indptr": torch.tensor([0, 2, 2])}, "indptr"),
        ({"indptr": torch.tensor([0, 2, 1] + [2] * 6)}, "row"),
        ({"indptr": torch.tensor([0] * 8 + [3])}, "ends with 3"),
        ({"values": torch.zeros(3)}, "length 3|2"),
        ({"values": [1.0, 2.0]}, "values is a list"),
    ],
)
def test_a_broken_state_is_refused_and_changes_nothing(
    change: Any, message: str, prepared: bool
) -> None:
    layer = sparse()
    if prepared:
        layer.prepare_()
    x = images()
    before, kept = layer(x), copy.deepcopy(layer.state_dict())
    state = {
        "values": torch.ones(2),
        "indices": torch.tensor([0, 35]),
        "indptr": torch.tensor([0] + [2] * 8),
        "bias": torch.zeros(8),
    }
    with pytest.raises(RuntimeError, match=rf"0\.\{{values,indices,indptr\}}.*({message})"):
        nn.Sequential(layer).load_state_dict({f"0.{k}": v for k, v in (state | change).items()})
    assert torch.equal(layer.values if layer.values is not None else kept["values"], kept["values"])
    with torch.no_grad():
        layer.bias.copy_(kept["bias"])  # torch loads what it can
    assert torch.equal(layer(x), before)
    layer.load_state_dict(state)
    assert layer.to_dense().weight.count_nonzero() == 2


# ---- copies ----


@pytest.mark.parametrize("prepared", [True, False])
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_independent(duplicate: Any, prepared: bool) -> None:
    layer = sparse(groups=2)
    if prepared:
        layer.prepare_()
    x = images()
    before = layer(x)
    twin = duplicate(layer)
    assert torch.equal(twin(x), before)
    twin.restore_()
    with torch.no_grad():
        twin.values.zero_()
        twin.bias.zero_()
    assert not twin(x).any()
    assert torch.equal(layer(x), before)


@pytest.mark.parametrize("prepared", [True, False])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_casts(dtype: Any, prepared: bool) -> None:
    conv = pruned(dtype=torch.float64, padding=1)
    layer = CSRConv2d.from_dense(copy.deepcopy(conv))
    if prepared:
        layer.prepare_()
    layer.to(dtype)
    assert (layer._plan is not None) == prepared
    check_forward(layer, conv.to(dtype), images(dtype=dtype))
    layer.to("meta")
    with pytest.raises(RuntimeError, match=r"on meta, but its kernels run on the CPU"):
        layer(images(dtype=dtype))


# ---- prepared ----


def test_prepared_layers_keep_one_copy_and_come_back() -> None:
    layer = sparse(64, in_channels=32, padding=1)
    values, x = layer.values.detach().clone(), images(1, 32, 5, 5)
    nnz, want = values.numel(), layer(x).detach()
    layer.prepare_()
    assert [name for name, _ in layer.named_parameters()] == ["bias"]
    assert not list(layer.buffers())
    assert 6 * nnz <= layer.nbytes < 7 * nnz
    x.requires_grad_()
    y = layer(x)
    assert torch.equal(y, want)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    layer.prepare_().restore_().restore_()
    assert torch.equal(layer.values, values)
    assert layer.values.requires_grad
    torch.testing.assert_close(torch.autograd.grad(layer(x).sum(), x)[0], gradient)
    layer.values.requires_grad_(False)
    assert not layer.prepare_().restore_().values.requires_grad
    assert layer.prepare_().requires_grad_().restore_().values.requires_grad


# ---- training ----


@pytest.mark.parametrize("options", SHAPES[:4], ids=str)
def test_a_training_step_changes_the_values_alone(options: Any) -> None:
    conv = pruned(dtype=torch.float64, **options)
    layer = CSRConv2d.from_dense(conv)
    layer.bias = nn.Parameter(conv.bias.detach().clone())
    x = images(dtype=torch.float64)
    stored = conv.weight.detach() != 0
    pattern = layer.indices.clone(), layer.indptr.clone()
    optimizer = torch.optim.SGD([*layer.parameters(), *conv.parameters()], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        for module in (conv, layer):
            module(x).pow(2).mean().backward()
        conv.weight.grad[~stored] = 0
        optimizer.step()
    torch.testing.assert_close(layer.to_dense().weight, conv.weight, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(layer.bias, conv.bias, rtol=1e-10, atol=1e-10)
    assert torch.equal(layer.indices, pattern[0])
    assert torch.equal(layer.indptr, pattern[1])
    assert (layer.to_dense().weight != 0).sum() == stored.sum()


def test_frozen_values_still_pass_the_gradient_on() -> None:
    layer = sparse(padding=1).requires_grad_(False)
    x, other = images().requires_grad_(), images().requires_grad_()
    layer(x).sum().backward()
    layer.to_dense()(other).sum().backward()
    torch.testing.assert_close(x.grad, other.grad, rtol=1e-4, atol=1e-4)
    assert layer.values.grad is None
