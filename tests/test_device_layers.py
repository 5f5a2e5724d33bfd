"""CSRLinear on a device: it trains, runs prepared, and loads, as on the host."""

import copy

import pytest

import sparsecore as sc

torch = pytest.importorskip("torch", reason="torch is not installed")

from chain_cases import converted, linear  # noqa: E402

pytestmark = pytest.mark.gpu


def pruned(gpu, *, dtype=torch.float64):
    """Return a dense layer on the device whose weight is 60 % zeros."""
    torch.manual_seed(1)
    dense = torch.nn.Linear(20, 12, dtype=dtype)
    with torch.no_grad():
        dense.weight.mul_(torch.rand(12, 20) < 0.4)
    return dense.to(gpu)


def close(got, want):
    torch.testing.assert_close(got.cpu(), want.cpu(), rtol=1e-10, atol=1e-10)


def test_it_computes_what_the_dense_layer_does(gpu):
    dense = pruned(gpu)
    x = torch.randn(2, 5, 20, dtype=torch.float64).to(gpu)
    moved = sc.nn.CSRLinear.from_dense(pruned("cpu")).to(gpu)
    for layer in (sc.nn.CSRLinear.from_dense(dense), moved, copy.deepcopy(moved)):
        assert layer.values.device == x.device
        close(layer(x), dense(x))
        close(layer.to_dense()(x), dense(x))
        assert layer.matrix().device == x.device


def test_it_trains(gpu):
    dense = pruned(gpu)
    layer = sc.nn.CSRLinear.from_dense(copy.deepcopy(dense))
    mask = dense.weight != 0
    x = torch.randn(7, 20, dtype=torch.float64).to(gpu)
    for module in (dense, layer):
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            module(x).square().sum().backward()
            if module is dense:
                dense.weight.grad.mul_(mask)
            optimizer.step()
    close(layer(x), dense(x))
    close(layer.to_dense().weight, dense.weight)


def test_it_runs_prepared(gpu):
    dense = pruned(gpu)
    layer = sc.nn.CSRLinear.from_dense(dense).prepare_(n=3)
    x = torch.randn(3, 20, dtype=torch.float64).to(gpu).requires_grad_()
    assert "kernel=merge" in repr(layer)
    close(layer(x), dense(x))
    close(*(torch.autograd.grad(module(x).sum(), x)[0] for module in (layer, dense)))
    close(layer.to(gpu)(x), dense(x))
    close(layer.restore_()(x), dense(x))


def test_it_loads_a_state_with_another_number_of_values(gpu):
    dense = pruned(gpu)
    state = sc.nn.CSRLinear.from_dense(dense).state_dict()
    layer = sc.nn.CSRLinear(20, 12, dtype=torch.float64).to(gpu)
    layer.load_state_dict(state)
    x = torch.randn(3, 20, dtype=torch.float64).to(gpu)
    close(layer(x), dense(x))
    with pytest.raises(RuntimeError, match="indices"):
        layer.load_state_dict({**state, "indices": state["indices"] + 30})
    close(layer(x), dense(x))


def test_int8_values_and_an_activation(gpu):
    dense = pruned(gpu, dtype=torch.float32)
    layer = sc.nn.CSRLinear.from_dense(dense, values="int8")
    layer.activation = "relu"
    x = torch.randn(9, 20).to(gpu)
    with torch.no_grad():
        want = torch.relu(layer.to_dense()(x))
        torch.testing.assert_close(layer(x).cpu(), want.cpu(), rtol=1e-5, atol=1e-5)
    assert layer.values.dtype == torch.int8


def test_it_compiles(gpu):
    torch._dynamo.reset()
    layer = sc.nn.CSRLinear.from_dense(pruned(gpu))
    x = torch.randn(3, 20, dtype=torch.float64).to(gpu)
    got = torch.compile(layer, fullgraph=True, backend="aot_eager")(x)
    close(got, layer(x))
    torch._dynamo.reset()


def test_convolutions_say_that_they_run_on_the_host(gpu):
    conv = sc.nn.CSRConv2d.from_dense(torch.nn.Conv2d(2, 3, 3)).to(gpu)
    with pytest.raises((RuntimeError, TypeError), match=r"the CPU|expected 'cpu'"):
        conv(torch.ones(1, 2, 5, 5, device=gpu))


def test_layers_that_are_called_together_on_the_host_are_called_one_by_one(gpu):
    model = torch.nn.Sequential(linear(), torch.nn.ReLU(), linear())
    x = torch.randn(3, 8)
    sparse = converted(model, x).to(gpu)
    with torch.no_grad():
        want = model(x)
        torch.testing.assert_close(sparse(x.to(gpu)).cpu(), want, rtol=1e-4, atol=1e-5)
