"""nn/sparse24_conv.py, nn/pointwise.py: 1 x 1 convolutions whose weight is 2:4."""

import copy
import io
import pickle
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import sparsecore as sc  # noqa: E402
from conv_layers import check_forward, images  # noqa: E402
from linear_layers import DTYPES, generator  # noqa: E402
from sparsecore.nn import Sparse24Conv2d, sparsify_  # noqa: E402
from sparsify_cases import FAST_24, FAST_CSR, FakeTimer, of  # noqa: E402
from stored_cases import round_  # noqa: E402

GEOMETRIES: list[dict[str, Any]] = [
    {},
    {"stride": 2},
    {"padding": 1},
    {"stride": (2, 3), "padding": (0, 2)},
    {"padding": "same", "dilation": 2},
]
ORDERS = [torch.contiguous_format, torch.channels_last]


def pruned(c: int = 10, m: int = 6, dtype: Any = torch.float32, **options: Any) -> nn.Conv2d:
    """Return a 1 x 1 convolution with random weights that are 2:4 along the input channels."""
    conv = nn.Conv2d(c, m, 1, dtype=dtype, **options)
    with torch.no_grad():
        weight = torch.randn(m, c, generator=generator())
        weight.masked_fill_(~sc.prune_24(weight), 0)
        conv.weight.copy_(weight[:, :, None, None])
        if conv.bias is not None:
            conv.bias.copy_(torch.linspace(-1, 1, m))
    return conv


# ---- numbers ----


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("options", GEOMETRIES, ids=str)
def test_forward_in_both_memory_orders(options: Any, order: Any) -> None:
    conv = pruned(**options)
    layer = Sparse24Conv2d.from_dense(conv)
    for n, high, wide in ((3, 5, 7), (1, 4, 4), (2, 1, 1), (2, 1, 9)):
        x = images(n, 10, high, wide).contiguous(memory_format=order)
        check_forward(layer, conv, x)
        y = layer(x)
        if high > 1:  # else both orders are one
            assert y.is_contiguous(memory_format=order)
        torch.testing.assert_close(layer(x[0]), y[0], rtol=1e-5, atol=1e-5)
    none = images(0, 10, 4, 4).requires_grad_()
    assert layer(none).shape == conv(none).shape
    layer(none).sum().backward()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("sizes", [(1, 3), (3, 1), (9, 4), (16, 8)])
def test_channels_around_a_group_in_every_dtype(sizes: Any, dtype: Any) -> None:
    conv = pruned(*sizes, dtype=dtype)
    layer = Sparse24Conv2d.from_dense(conv)
    for order in ORDERS:
        x = images(2, sizes[0], 3, 5, dtype=dtype).contiguous(memory_format=order)
        check_forward(layer, conv, x)
    x = images(10, 3, sizes[0], 5, dtype=dtype).transpose(1, 2).flip(0)[::3]
    check_forward(layer, conv, x)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("activation", [None, "relu", "gelu"])
def test_gradients_residuals_and_activations(activation: Any, order: Any) -> None:
    conv = pruned(dtype=torch.float64, stride=2)
    layer = Sparse24Conv2d.from_dense(conv)
    layer.bias = nn.Parameter(conv.bias.detach().clone())
    layer.activation = activation
    results = []
    for module in (layer, conv):
        x, r = images(3, 10, 5, 4, dtype=torch.float64), images(3, 6, 3, 2, dtype=torch.float64)
        x = x.contiguous(memory_format=order).requires_grad_()
        r.requires_grad_()
        y = layer(x, r) if module is layer else conv(x) + r
        if module is conv and activation is not None:
            y = getattr(nn.functional, activation)(y)
        y.sin().sum().backward()
        weight = layer.values if module is layer else conv.weight
        results.append((y.detach(), x.grad, r.grad, module.bias.grad, weight.grad))
        with torch.no_grad():
            torch.testing.assert_close(y, layer(x, r), rtol=1e-12, atol=1e-12)
    *ours, d_values = results[0]
    *want, d_weight = results[1]
    torch.testing.assert_close(ours, want, rtol=1e-10, atol=1e-10)
    matrix = sc.Sparse24((d_values, layer.metadata), shape=(6, 10)).toarray()
    d_weight[conv.weight == 0] = 0
    torch.testing.assert_close(matrix[..., None, None], d_weight, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("form", [None, "bfloat16", "int8"])
def test_copies_states_casts_and_stored_values(form: Any) -> None:
    conv, x = pruned(stride=2), images(2, 10, 5, 5)
    layer = Sparse24Conv2d.from_dense(conv, values=form)
    check_forward(layer, conv if form is None else round_(pruned(stride=2), form), x)
    y = layer(x)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), layer.share_memory()):
        assert torch.equal(twin(x), y)
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    fresh = Sparse24Conv2d(10, 6, 1, stride=2, values=form)
    assert fresh.load_state_dict(torch.load(file, weights_only=True)) == ([], [])
    assert torch.equal(fresh(x), y)
    assert repr(fresh).startswith("Sparse24Conv2d(10, 6, kernel_size=(1, 1), stride=(2, 2), ")
    dense = fresh.to_dense()
    torch.testing.assert_close(dense(x), y, rtol=1e-5, atol=1e-5)
    assert (dense.weight.shape, dense.weight.dtype) == (conv.weight.shape, torch.float32)
    torch.testing.assert_close(layer.double()(x.double()).float(), y, rtol=1e-5, atol=1e-5)
    with pytest.raises(RuntimeError, match=r"\{values,metadata.*row 0.*group 0"):
        fresh.load_state_dict({**fresh.state_dict(), "metadata": layer.metadata * 0})


def test_compiled_it_gives_the_same_in_the_same_order() -> None:
    layer = Sparse24Conv2d.from_dense(pruned(padding=1), values="int8")
    model = torch.compile(layer, fullgraph=True, backend="eager")
    for order in ORDERS:
        x = images(2, 10, 3, 4).contiguous(memory_format=order)
        y, want = model(x), layer(x)
        torch.testing.assert_close(y, want, rtol=1e-5, atol=1e-5)
        assert y.stride() == want.stride()


# ---- refused ----


def test_what_has_no_24_kernel_is_refused() -> None:
    for conv, message in (
        (nn.Conv2d(8, 8, 3), r"kernel_size is \(3, 3\), groups is 1, expected \(1, 1\) and 1"),
        (nn.Conv2d(8, 8, 1, groups=2), "groups is 2"),
        (nn.Conv2d(8, 8, 1), r"row 0, group 0 \(columns 0 to 3\)"),
        (nn.Conv2d(8, 8, 1, padding=1, padding_mode="reflect"), "padding_mode is 'reflect'"),
    ):
        with pytest.raises(ValueError, match=message):
            Sparse24Conv2d.from_dense(conv)
    layer, x = Sparse24Conv2d.from_dense(pruned()), images(2, 10, 3, 3)
    for given, kind, message in (
        ((x[:, :9],), ValueError, "x has 9 channels, expected 10"),
        ((x[0, 0],), TypeError, "x has 2 dimensions, expected 4"),
        ((x[:, :, :0],), ValueError, "smaller than the kernel"),
        ((x.double(),), TypeError, "A is float32, X is float64"),
        ((x, x), ValueError, r"residual has shape \(2, 10, 3, 3\), expected \(2, 6, 3, 3\)"),
        ((x, 1.0), TypeError, "residual is a float"),
        ((x.numpy(),), TypeError, "input is a numpy.ndarray"),
    ):
        with pytest.raises(kind, match=message):
            layer(*given)


# ---- in models ----


def test_sparsify_measures_it_where_the_weight_is_24(tmp_path: Path) -> None:
    def model() -> nn.Sequential:
        layers = [pruned(8, 8, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1)]
        return nn.Sequential(*layers).eval()

    x = images(2, 8, 5, 5)
    for seconds, choice in ((FAST_24, "2:4"), (FAST_CSR, "csr")):
        net, timer = model(), FakeTimer(seconds)
        report = sparsify_(net, x, timer=timer)
        assert timer.asked[0] == ["dense", "csr", "2:4"]
        assert of(report, "0").choice == choice
    net = model()
    want = net(x)
    report = sparsify_(net, x, policy={"0": "2:4"}, trainable=False, channels_last=True)
    assert (net[0].fused, net[0].activation, report.choices["0"]) == (True, "relu", "2:4")
    path = tmp_path / "m.safetensors"
    sc.nn.save_checkpoint(path, net)
    fresh = model()
    sc.nn.load_checkpoint_(path, fresh)
    assert torch.equal(fresh(x), net(x))
    assert repr(fresh) == repr(net)
    torch.testing.assert_close(net(x), want, rtol=1e-4, atol=1e-5)
    assert isinstance(sc.load_checkpoint(path)["0.weight"], sc.Sparse24)
