"""nn/conv.py: what a sparse convolution computes, is made of, refuses, and says of itself."""

import itertools
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils import parametrizations, prune  # noqa: E402

from conv_layers import SHAPES, check_forward, images, pruned, sparse  # noqa: E402
from linear_layers import DTYPES  # noqa: E402
from sparsecore.nn import CSRConv2d  # noqa: E402

# ---- the convolution ----


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("options", SHAPES, ids=str)
def test_forward_is_that_of_the_dense_layer(options: Any, dtype: Any) -> None:
    for bias, prepared, shape in itertools.product(
        (True, False), (True, False), ((2, 4, 6, 7), (1, 4, 20, 33), (0, 4, 6, 7))
    ):
        conv = pruned(dtype=dtype, bias=bias, **options)
        layer = CSRConv2d.from_dense(conv)
        if prepared:
            layer.prepare_()
        check_forward(layer, conv, images(*shape, dtype=dtype))


@pytest.mark.parametrize("prepared", [True, False])
def test_images_of_any_order_keep_it(prepared: bool) -> None:
    conv = pruned(padding=1)
    layer = CSRConv2d.from_dense(conv)
    if prepared:
        layer.prepare_()
    x = images()
    for order in (torch.contiguous_format, torch.channels_last):
        for needs_grad in (False, True):
            y = layer(x.clone(memory_format=order).requires_grad_(needs_grad))
            assert y.is_contiguous(memory_format=order)
            assert y.shape == (2, 8, 6, 7)
    wide = images(4, 8, 12, 14)
    for view in (
        wide[::2, ::2, ::2, ::2],
        wide[:2, :4].transpose(2, 3),
        wide[:1, :4].expand(3, -1, -1, -1),
    ):
        check_forward(layer, conv, view)
    assert torch.allclose(layer(x[0]), layer(x)[0], rtol=1e-5, atol=1e-5)
    assert torch.equal(layer(input=x), layer(x))


def test_inputs_that_are_none() -> None:
    for layer in (sparse(), sparse().prepare_()):
        with pytest.raises(TypeError, match=r"CSRConv2d: input is a numpy\.ndarray, expected a"):
            layer(images().numpy())
        with pytest.raises(ValueError, match="conv2d: x has 3 channels, expected 4"):
            layer(images(2, 3, 6, 7))
        with pytest.raises(TypeError, match="conv2d: x has 2 dimensions"):
            layer(images(6, 7))
        with pytest.raises(ValueError, match="smaller than the kernel's span"):
            layer(images(2, 4, 2, 7))
        with pytest.raises(TypeError, match="float64"):
            layer(images().double())


# ---- made of a dense layer, and made dense again ----


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("prepared", [True, False])
@pytest.mark.parametrize("options", SHAPES[:3], ids=str)
def test_to_dense_gives_back_the_layer_and_draws_no_random_numbers(
    options: Any, prepared: bool, bias: bool
) -> None:
    conv = pruned(bias=bias, dtype=torch.float64, **options).eval()
    layer = CSRConv2d.from_dense(conv)
    if prepared:
        layer.prepare_()
    state = torch.get_rng_state()
    dense = layer.to_dense()
    assert torch.equal(torch.get_rng_state(), state)
    assert type(dense) is nn.Conv2d
    assert repr(dense) == repr(conv)
    assert dense.training is False
    assert torch.equal(dense.weight, conv.weight)
    assert dense.weight.requires_grad
    x = images(dtype=torch.float64)
    assert torch.equal(dense(x), conv(x))
    if bias:
        assert torch.equal(dense.bias, conv.bias)
        assert dense.bias is not conv.bias
    else:
        assert dense.bias is None


def test_from_dense_shares_the_bias_and_copies_the_weight() -> None:
    conv = pruned()
    conv.weight.requires_grad_(False)
    layer = CSRConv2d.from_dense(conv)
    assert layer.bias is conv.bias
    assert not layer.values.requires_grad
    assert not layer.to_dense().weight.requires_grad
    with torch.no_grad():
        conv.weight.fill_(7.0)
    assert not (layer.values == 7.0).any()
    last = pruned().to(memory_format=torch.channels_last)
    check_forward(CSRConv2d.from_dense(last), last, images())


def test_named_paddings() -> None:
    for kernel, dilation, padding in ((3, 1, (1, 1)), ((1, 5), 1, (0, 2)), (2, 2, (1, 1))):
        layer = sparse(kernel_size=kernel, dilation=dilation, padding="same")
        assert layer.geometry.padding == padding
        assert layer(images()).shape == (2, 8, 6, 7)
    assert sparse(padding="valid").geometry.padding == (0, 0)
    with pytest.raises(
        ValueError, match=r"CSRConv2d\.from_dense: its padding='same' is one more on one side"
    ):
        sparse(kernel_size=(3, 2), padding="same")
    for mode in ("reflect", "replicate", "circular"):
        with pytest.raises(
            ValueError,
            match=f"CSRConv2d.from_dense: its padding_mode is '{mode}', expected 'zeros'",
        ):
            sparse(padding=1, padding_mode=mode)


def test_what_is_no_plain_convolution_is_refused() -> None:
    for other in (nn.Linear(3, 3), nn.Conv1d(1, 1, 1), nn.ConvTranspose2d(1, 1, 1), None):
        name = type(other).__name__
        with pytest.raises(TypeError, match=f"from_dense: conv is a {name}, expected nn.Conv2d"):
            CSRConv2d.from_dense(other)
    with pytest.raises(ValueError, match=r"LazyConv2d|Conv2d"):
        CSRConv2d.from_dense(type("Special", (nn.Conv2d,), {})(4, 8, 3))
    masked = pruned()
    prune.random_unstructured(masked, "weight", amount=0.5)
    with pytest.raises(ValueError, match=r"from_dense: .*prune\.remove"):
        CSRConv2d.from_dense(masked)
    with pytest.raises(ValueError, match=r"from_dense: .*remove_parametrizations"):
        CSRConv2d.from_dense(parametrizations.weight_norm(pruned()))
    hooked = pruned()
    hooked.register_forward_hook(lambda *_: None)
    with pytest.raises(ValueError, match=r"from_dense: .*hooks"):
        CSRConv2d.from_dense(hooked)
    patched = pruned()
    patched.forward = lambda x: x
    with pytest.raises(ValueError, match="forward was replaced"):
        CSRConv2d.from_dense(patched)


def test_a_new_layer_is_zero() -> None:
    layer = CSRConv2d(4, 6, (3, 1), padding=(1, 0), groups=2, dtype=torch.float64)
    assert not layer(images(dtype=torch.float64)).any()
    assert not layer.to_dense().weight.any()
    assert CSRConv2d(4, 6, 3, bias=False).bias is None


def test_sizes_that_make_no_layer() -> None:
    for groups in (0, -1, 3):
        with pytest.raises(ValueError, match=f"CSRConv2d: groups is {groups}, expected a divisor"):
            CSRConv2d(4, 8, 3, groups=groups)
    for name in ("kernel_size", "stride", "padding", "dilation"):
        for bad in ("3", 1.5, (1, 2, 3)):
            with pytest.raises(TypeError, match=f"{name} (is|has)"):
                CSRConv2d(4, 8, **({"kernel_size": 3} | {name: bad}))
        bad = -1
        with pytest.raises(ValueError, match=rf"{name} is \({bad}, {bad}\)"):
            CSRConv2d(4, 8, **({"kernel_size": 3} | {name: bad}))
    with pytest.raises(ValueError, match="in_channels is -4"):
        CSRConv2d(-4, 8, 3)


# ---- what it says of itself ----


def test_repr_says_sizes_format_sparsity_and_kernel() -> None:
    layer = sparse(kernel_size=(3, 2), padding=1, groups=2, bias=False)
    for part in (
        "CSRConv2d(4, 8, kernel_size=(3, 2), stride=(1, 1), padding=(1, 1), dilation=(1, 1), ",
        "groups=2, bias=False, format=csr, sparsity=0.",
        "dtype=float32, kernel=per call, bytes=",
    ):
        assert part in repr(layer)
    nnz = layer.values.numel()
    assert layer.nbytes == 4 * nnz + nnz + 9  # columns and offsets in a byte each
    layer.prepare_()
    assert "kernel=packed_patches" in repr(layer)
    assert layer.nbytes == layer._plan.nbytes
