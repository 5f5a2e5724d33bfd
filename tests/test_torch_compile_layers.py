"""Layers under `torch.compile`: numbers, training, graphs and edits as without it."""

import shutil

import pytest

torch = pytest.importorskip("torch")

from torch._dynamo.testing import CompileCounter  # noqa: E402

import library_cases as lib  # noqa: E402
from compiling import check_training, compiled  # noqa: E402
from linear_layers import prune_, prune_24_  # noqa: E402
from sparsecore.nn import CSRLinear, Sparse24Linear  # noqa: E402

x3 = lib.numbers(2, 3, 10)


@pytest.fixture(autouse=True)
def fresh_compiler():
    """Compile anew: how often a function was compiled before decides what a graph specializes."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def layers(k=10, m=6):
    """Return a layer of each kind, fp64."""
    linear = torch.nn.Linear(k, m, dtype=torch.float64)
    csr = CSRLinear.from_dense(prune_(linear))
    prepared = CSRLinear.from_dense(linear).prepare_()
    return csr, prepared, Sparse24Linear.from_dense(prune_24_(linear))


@pytest.mark.parametrize("layer", layers(), ids=["csr", "prepared", "24"])
def test_layers(layer):
    check_training(lambda: layer(x3), (x3, *layer.parameters()))
    model = compiled(layer)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(2):
        loss = model(x3).square().sum()
        torch.testing.assert_close(loss, layer(x3).square().sum())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@pytest.mark.parametrize("layer", layers(), ids=["csr", "prepared", "24"])
def test_a_marked_batch_axis_compiles_once(layer):
    counter = CompileCounter()
    model = compiled(layer, counter)
    for batch in (5, 2, 9):
        x = lib.numbers(batch, 3, 10, grad=False)
        torch._dynamo.mark_dynamic(x, 0)
        torch.testing.assert_close(model(x), layer(x))
    assert counter.frame_count == 1


def test_layers_that_are_alike_share_a_graph():
    """Compiled one by one, as blocks of a model are: also prepared, whose plans differ."""
    counter = CompileCounter()
    for _ in range(4):
        layer = layers()[1]
        layer.compile(fullgraph=True, backend=counter)
        torch.testing.assert_close(layer(x3), layer.forward(x3))
    assert counter.frame_count == 1


def test_edits_of_buffers_reach_a_compiled_layer():
    layer = layers()[0]
    model = compiled(layer)
    model(x3)
    for edit in (lambda: layer.indptr.fill_(0), lambda: layer.indices.fill_(99)):
        edit()
        with pytest.raises((ValueError, IndexError)) as direct:
            layer(x3)
        with pytest.raises(type(direct.value)):
            model(x3)


def test_autocast():
    layer = layers()[0].float()
    model = compiled(layer)
    with torch.autocast("cpu", torch.bfloat16):
        x = torch.nn.functional.linear(torch.ones(3, 10), torch.eye(10))
        assert x.dtype == torch.bfloat16
        y = model(x)
        torch.testing.assert_close(y, layer(x))
    assert y.dtype == torch.float32


# Inductor's own modules still use it.
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor compiles with g++")
def test_inductor():
    csr, prepared, two_four = layers()
    model = torch.nn.Sequential(csr, torch.nn.ReLU(), torch.nn.Linear(6, 10, dtype=x3.dtype))
    model = torch.nn.Sequential(model, prepared, torch.nn.Linear(6, 10, dtype=x3.dtype), two_four)
    check_training(lambda: model(x3), (x3, *model.parameters()), backend="inductor")
