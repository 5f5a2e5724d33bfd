"""CSRConv2d compiled, exported and autocast; and models that were fused around it."""

import copy
import shutil
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch._dynamo.testing import CompileCounter  # noqa: E402

from child import output  # noqa: E402
from compiling import check_training, compiled  # noqa: E402
from library_cases import numbers  # noqa: E402
from sparsecore.nn import CSRConv2d, sparsify_  # noqa: E402
from sparsify_cases import Wrapped  # noqa: E402


@pytest.fixture(autouse=True)
def fresh_compiler():
    """Compile anew: how often a function was compiled before decides what a graph specializes."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def pruned(*arguments: Any, dtype: Any = torch.float64, **options: Any) -> nn.Conv2d:
    """Return a convolution half of whose weights are zeros."""
    conv = nn.Conv2d(*arguments, dtype=dtype, **options)
    with torch.no_grad():
        conv.weight.copy_(numbers(*conv.weight.shape, grad=False).relu())
    return conv


def layer(*, prepared: bool = False, activation: str | None = None, dtype: Any = torch.float64):
    """Return a layer of four channels whose images keep their size."""
    made = CSRConv2d.from_dense(pruned(4, 4, 3, padding=1, groups=2, dtype=dtype))
    made.activation = activation
    return made.prepare_() if prepared else made


X = numbers(2, 4, 5, 6)
PREPARED = pytest.mark.parametrize("prepared", [False, True], ids=["csr", "prepared"])


@pytest.mark.parametrize(
    ("prepared", "activation"), [(False, None), (False, "relu"), (True, "gelu")]
)
def test_training(prepared, activation):
    net = layer(prepared=prepared, activation=activation)
    residual = numbers(2, 4, 5, 6, seed=1)
    check_training(lambda: net(X, residual), (X, residual, *net.parameters()))
    model = compiled(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(2):
        loss = model(X).square().sum()
        torch.testing.assert_close(loss, net(X).square().sum())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        torch.testing.assert_close(model(X, residual), net(X, residual))
        torch.testing.assert_close(model(X[0], residual[0]), net(X[0], residual[0]))


@PREPARED
def test_a_marked_batch_axis_compiles_once(prepared):
    net, counter = layer(prepared=prepared), CompileCounter()
    model = compiled(net, counter)
    for batch in (5, 2, 9):
        x = numbers(batch, 4, 5, 6, grad=False).to(memory_format=torch.channels_last)
        torch._dynamo.mark_dynamic(x, 0)
        y = model(x)
        torch.testing.assert_close(y, net(x))
        assert y.is_contiguous(memory_format=torch.channels_last)
    assert counter.frame_count == 1


def test_prepared_layers_that_are_alike_share_a_graph():
    counter = CompileCounter()
    for _ in range(3):
        net = layer(prepared=True)
        net.compile(fullgraph=True, backend=counter)
        torch.testing.assert_close(net(X), net.forward(X))
    assert counter.frame_count == 1


@PREPARED
def test_autocast(prepared):
    for dtype in (torch.float32, torch.bfloat16):
        net = layer(prepared=prepared, dtype=dtype)
        model = compiled(nn.Sequential(nn.Conv2d(4, 4, 1), net))
        x = X.detach().float()
        with torch.autocast("cpu", torch.bfloat16):
            y = model(x)  # which torch's convolution makes bfloat16
            torch.testing.assert_close(y, model._orig_mod(x))
        assert y.dtype == dtype


# Inductor's own modules still use it.
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor compiles with g++")
def test_inductor():
    nets = layer(activation="silu"), nn.BatchNorm2d(4).double(), layer(prepared=True), nn.ReLU()
    model = nn.Sequential(*nets).eval()
    x = X.detach().to(memory_format=torch.channels_last).requires_grad_()
    check_training(lambda: model(x), (x, *model.parameters()), backend="inductor")


# ---- exported ----


def exported(module, x, *, strict=False):
    batch = {0: torch.export.Dim("batch")}
    return torch.export.export(module, (x,), dynamic_shapes=(batch,), strict=strict)


def test_a_program_runs_in_another_process(tmp_path):
    net = nn.Sequential(
        layer(dtype=torch.float32, activation="relu"),
        layer(dtype=torch.float32, activation="relu", prepared=True),
    )
    x = numbers(9, 4, 5, 6, dtype=torch.float32, grad=False)
    program = exported(net, x[:4])
    targets = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert [t for t in targets if "sparsecore" in t] == ["sparsecore.csr_conv2d.default"] * 2
    path, given, result = (tmp_path / name for name in ("net.pt2", "x.pt", "y.pt"))
    torch.export.save(program, path)
    torch.save(x, given)
    output(
        f"""
        import torch
        import sparsecore
        net = torch.export.load({str(path)!r}).module()
        torch.save(net(torch.load({str(given)!r})), {str(result)!r})
        """
    )
    torch.testing.assert_close(torch.load(result), net(x).detach())


def test_strict_export():
    net, x = layer(prepared=True), X.detach()
    with pytest.raises(Exception, match="strict=False, or a layer that is not prepared"):
        exported(net, x, strict=True)
    program = exported(net.restore_(), x, strict=True)
    torch.testing.assert_close(program.module()(x[:1]), net(x[:1]))


# ---- fused ----


def block(m: Any, a: torch.Tensor) -> torch.Tensor:
    y = m.relu(m.n1(m.c1(a)))
    y = m.n2(m.c2(y))
    y += a
    return m.relu(y)


def test_a_fused_model_and_its_copy():
    torch.manual_seed(0)
    parts = {
        "c1": pruned(4, 4, 3, padding=1, dtype=torch.float32),
        "n1": nn.BatchNorm2d(4),
        "c2": pruned(4, 4, 3, padding=1, dtype=torch.float32),
        "n2": nn.BatchNorm2d(4),
        "relu": nn.ReLU(inplace=True),
    }
    inner = Wrapped(block, **parts)
    model = nn.Sequential(nn.Conv2d(3, 4, 1), inner, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        want = model(x.clone())
        policy = {"1.c1": "csr", "1.c2": "csr"}
        sparsify_(model, x, policy=policy, trainable=False, channels_last=True)
        assert type(inner.c2) is CSRConv2d
        assert "forward" in vars(model) or "forward" in vars(inner)
        torch.testing.assert_close(model(x), want)
        other = copy.deepcopy(model)
        for net in (model, other):
            for images in (x, x[:1], x.to(memory_format=torch.channels_last)):
                got = torch.compile(net, backend="aot_eager")(images)
                torch.testing.assert_close(got, want[: len(images)])
        other.get_submodule("1.c2").bias.zero_()
        got = torch.compile(other, backend="aot_eager")(x)
        torch.testing.assert_close(got, other(x))
        assert not torch.equal(got, want), "the copy runs its own layers"
