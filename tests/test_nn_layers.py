"""nn/layers.py: which linear layers of a model are found, and which stay as they are."""

import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn.utils import parametrizations, prune  # noqa: E402

from linear_layers import prune_  # noqa: E402
from sparsecore.nn import CSRLinear, sparsify_  # noqa: E402
from sparsify_cases import FAST_CSR, FakeTimer, Wrapped, mlp, of  # noqa: E402

# ---- found ----


def test_layers_are_found_by_type_in_any_container() -> None:
    model = Wrapped(
        lambda m, x: m.parts["first"](x) + m.items[0](x),
        parts=nn.ModuleDict({"first": prune_(nn.Linear(8, 8))}),
        items=nn.ModuleList([prune_(nn.Linear(8, 8)), nn.Identity()]),
    )
    report = sparsify_(model, torch.randn(2, 8), policy="always")
    assert report.choices == {"parts.first": "csr", "items.0": "csr"}


def test_a_layer_registered_twice_is_one_layer() -> None:
    shared = prune_(nn.Linear(8, 8))
    model = nn.Sequential(shared, nn.Sequential(shared, nn.ReLU()), shared)
    report = sparsify_(model, torch.randn(2, 8), timer=FakeTimer(FAST_CSR))
    assert [layer.name for layer in report.layers] == ["0"]
    assert report.layers[0].seconds == {"dense": 9.0, "csr": 3.0}
    assert model[0] is model[1][0]
    assert model[0] is model[2]
    assert type(model[0]) is CSRLinear


def test_a_model_that_is_one_linear_layer() -> None:
    report = sparsify_(prune_(nn.Linear(8, 8)), torch.randn(2, 8))
    assert report.layers[0].choice == "dense"
    assert "wrap it in torch.nn.Sequential" in report.layers[0].why


# ---- left as they are ----


def stays_dense(model: Any, x: Any, name: str, reason: str) -> None:
    """Assert that the layer is left, for this reason, and that the model still works."""
    layer = model.get_submodule(name)
    report = sparsify_(model, x, policy="always")
    assert model.get_submodule(name) is layer
    assert of(report, name).choice == "dense"
    assert reason in of(report, name).why
    assert of(report, name).seconds == {}
    model.eval()(x)


def test_a_layer_that_is_not_called() -> None:
    model = Wrapped(
        lambda m, x: m.used(x), used=prune_(nn.Linear(8, 8)), idle=prune_(nn.Linear(8, 8))
    )
    stays_dense(model, torch.randn(2, 8), "idle", "the example did not call it")
    assert type(model.used) is CSRLinear


def test_tied_weights() -> None:
    model = Wrapped(
        lambda m, x: m.head(m.embed(x)), embed=nn.Embedding(8, 8), head=prune_(nn.Linear(8, 8))
    )
    model.embed.weight = model.head.weight
    stays_dense(model, torch.tensor([[1, 2]]), "head", "tied: embed.weight shares its memory")


def test_weights_that_are_views_of_one_buffer() -> None:
    model = mlp(8, 8, 8)
    flat = torch.randn(2, 8, 8)
    model[0].weight.data, model[2].weight.data = flat[0], flat[1]
    stays_dense(model, torch.randn(2, 8), "0", "tied: 2.weight shares its memory")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda fc: prune.random_unstructured(fc, "weight", 0.5), "torch.nn.utils.prune.remove"),
        (parametrizations.spectral_norm, "remove_parametrizations"),
        (lambda fc: fc.register_forward_hook(lambda *_: None), "it has hooks"),
        (lambda fc: fc.register_forward_pre_hook(lambda *_: None), "it has hooks"),
        (lambda fc: fc.register_full_backward_hook(lambda *_: None), "it has hooks"),
        (lambda fc: fc.weight.register_hook(lambda _: None), "it has hooks"),
        (lambda fc: setattr(fc, "forward", fc.forward), "its forward was replaced"),
        (lambda fc: setattr(fc, "__class__", type("Mine", (nn.Linear,), {})), "it is a Mine"),
        (lambda fc: fc.weight.data.copy_(torch.ones(8, 8)), "it has no zeros"),
    ],
)
def test_layers_that_are_more_than_a_plain_linear(change: Any, reason: str) -> None:
    model = mlp(8, 8, 8)
    change(model[0])
    stays_dense(model, torch.randn(2, 8), "0", reason)
    assert type(model[2]) is CSRLinear


def test_a_layer_under_autocast() -> None:
    def forward(m: Any, x: Any) -> Any:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return m.fc(x)

    stays_dense(
        Wrapped(forward, fc=prune_(nn.Linear(8, 8))), torch.randn(2, 8), "fc", "under autocast"
    )


def test_inputs_that_sparse_layers_do_not_take() -> None:
    parts = [torch.randn(2, 8), torch.randn(3, 8)]
    nested = torch.nested.nested_tensor(parts, layout=torch.jagged)
    model = nn.Sequential(prune_(nn.Linear(8, 8)))
    stays_dense(model, nested, "0", "nested")


def test_dtypes_without_a_kernel_and_weights_elsewhere() -> None:
    complex_model = nn.Sequential(nn.Linear(8, 8, dtype=torch.complex64))
    x = torch.randn(2, 8, dtype=torch.complex64)
    stays_dense(complex_model, x, "0", "torch.complex64, which has no kernel")
    meta = nn.Sequential(nn.Linear(8, 8, device="meta"))
    report = sparsify_(meta, torch.empty(2, 8, device="meta"))
    assert "its weight is on meta" in report.layers[0].why
    assert math.isnan(report.layers[0].sparsity)
    assert report.to_dict()["layers"][0]["sparsity"] is None
    assert str(report).splitlines()[2].split()[4] == "-"


# ---- what a model reads of its layers ----


def test_a_layer_whose_weight_is_read_directly() -> None:
    def forward(m: Any, x: Any) -> Any:
        return F.linear(m.fc(x), m.fc.weight)

    model = Wrapped(forward, fc=prune_(nn.Linear(8, 8)))
    stays_dense(model, torch.randn(2, 8), "fc", "reads its weight directly")


def test_attention_keeps_its_projection_and_torchs_fused_layers_keep_theirs() -> None:
    torch.manual_seed(0)
    fused = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    called = nn.TransformerEncoderLayer(16, 2, 32, batch_first=False)
    x = torch.randn(3, 5, 16)
    for layer in (fused, called):
        prune_(layer.linear1)
        prune_(layer.linear2)
        prune_(layer.self_attn.out_proj)
        model = nn.Sequential(layer).eval()
        before = model(x)
        report = sparsify_(model, x, policy="always")
        assert "NonDynamicallyQuantizableLinear" in of(report, "0.self_attn.out_proj").why
        # Two layers of 16 and 32 columns on normalised inputs.
        torch.testing.assert_close(model(x), before, rtol=0, atol=(18 + 34) * 2**-23 * 100)
        with torch.no_grad():
            torch.testing.assert_close(model(x), before, rtol=0, atol=(18 + 34) * 2**-23 * 100)
    assert type(fused.linear1) is type(fused.linear2) is nn.Linear
    assert type(called.linear1) is type(called.linear2) is CSRLinear


def test_asking_for_what_no_linear_has_is_no_obstacle() -> None:
    def forward(m: Any, x: Any) -> Any:
        return m.fc(x) * getattr(m.fc, "scale", 1)

    model = Wrapped(forward, fc=prune_(nn.Linear(8, 8)))
    assert sparsify_(model, torch.randn(2, 8), policy="always").choices == {"fc": "csr"}


def test_reading_what_a_sparse_layer_has_too_is_no_obstacle() -> None:
    def forward(m: Any, x: Any) -> Any:
        dtype = next(m.fc.parameters()).dtype
        return m.fc(x.to(dtype)).view(-1, m.fc.out_features) * m.fc.in_features + m.fc.bias

    model = Wrapped(forward, fc=prune_(nn.Linear(8, 4)))
    x = torch.randn(2, 8)
    before = model(x)
    assert sparsify_(model, x, policy="always").choices == {"fc": "csr"}
    # 9 terms times 8, magnitudes below 100.
    torch.testing.assert_close(model(x), before, rtol=0, atol=100 * 8 * 10 * 2**-23)
