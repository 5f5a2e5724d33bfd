"""`sc.doctor` on live models: one for each verdict, found by structure and never by names."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn.utils import parametrizations, parametrize, prune  # noqa: E402

import sparsecore as sc  # noqa: E402
from diagnosis_cases import costs, pruned, two_of_four  # noqa: E402
from oracle import Array  # noqa: E402
from sparsecore.bench.models.resnet import ResNet20  # noqa: E402
from sparsecore.diagnosis import CODES, Diagnosis  # noqa: E402
from sparsify_cases import Wrapped  # noqa: E402


def doctor(model: nn.Module, example: Any = None, **options: Any) -> Diagnosis:
    return sc.doctor(model, example, costs=costs, **options)


def filled(layer: Any, weight: Array) -> Any:
    """Give a layer a weight, as it is or in the layer's shape."""
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight).reshape(layer.weight.shape))
    return layer


def linear(k: int = 64, m: int = 64, *, sparsity: float = 0.9, **options: Any) -> nn.Linear:
    layer: nn.Linear = filled(nn.Linear(k, m, **options), pruned(m, k, sparsity=sparsity))
    return layer


def conv(channels: int = 16, *, sparsity: float = 0.0) -> nn.Conv2d:
    layer = nn.Conv2d(channels, channels, 3, padding=1)
    return filled(layer, pruned(*layer.weight.shape, sparsity=sparsity))


class HalfMask(nn.Module):
    """A parametrization that keeps every other entry."""

    def forward(self, original: Tensor) -> Tensor:
        kept = torch.arange(original.numel()) % 2 == 0
        return original * kept.view(original.shape)


class MaskedLinear(nn.Module):
    """A layer as papers write it, with nothing of torch's pruning."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.randn(64, 64))
        self.register_buffer("gamma", torch.from_numpy(pruned(64, 64) != 0))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.theta * self.gamma)


class Projection(nn.Module):
    """A product with a bare parameter, the other way round: (inputs, outputs)."""

    def __init__(self, weight: Array) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.from_numpy(weight))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(torch.zeros(self.w.shape[1]), x, self.w)


class Quantized(nn.Module):
    """int8 codes with a scale a row, widened in each forward."""

    def __init__(self) -> None:
        super().__init__()
        codes = pruned(64, 64) * 20
        self.register_buffer("q", torch.from_numpy(codes.astype(np.int8)))
        self.register_buffer("s", torch.rand(64, 1) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.q.float() * self.s)


class LowRank(nn.Module):
    """A sparse weight and a product that fills its zeros in each forward."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.from_numpy(pruned(64, 64)))
        self.a, self.b = nn.Parameter(torch.randn(4, 64)), nn.Parameter(torch.randn(64, 4))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.w + self.b @ self.a)


class Experts(nn.Module):
    """A mixture: einsum copies its weights in another order before it multiplies."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.from_numpy(pruned(4, 64, 64)))
        self.router = nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bd,edf,be->bf", x, self.w, self.router(x).softmax(-1))


def hooked() -> nn.Module:
    return nn.Sequential(prune.l1_unstructured(nn.Linear(64, 64), "weight", 0.9))


def parametrized() -> nn.Module:
    layer = nn.Linear(64, 64)
    parametrize.register_parametrization(layer, "weight", HalfMask())
    return nn.Sequential(layer)


def tied() -> nn.Module:
    embedding, head = nn.Embedding(64, 64), linear()
    head.weight = filled(embedding, pruned(64, 64)).weight
    return Wrapped(lambda self, x: self.head(self.embedding(x.long().clamp(0, 9)).mean(1)),
                   embedding=embedding, head=head)  # fmt: skip


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
    filled(layer.linear1, pruned(128, 64))
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


def conv_net() -> nn.Module:
    """Convolutions without zeros, and one linear layer of a hundredth of their work."""
    return nn.Sequential(conv(16), nn.ReLU(), conv(16), nn.Flatten(), linear(16 * 64, 16))


def converted() -> nn.Module:
    return nn.Sequential(sc.nn.CSRLinear.from_dense(linear(256, 256)))


# What to diagnose, on what, and the verdicts of its weights.
MODELS: Mapping[str, tuple[Any, Any, set[str]]] = {
    "hook": (hooked, torch.ones(32, 64), {"mask-in-forward"}),
    "parametrization": (parametrized, torch.ones(32, 64), {"mask-in-forward"}),
    "by hand": (MaskedLinear, torch.ones(32, 64), {"mask-in-forward"}),
    "mlp": (
        lambda: nn.Sequential(
            linear(), nn.ReLU(), linear(sparsity=0.4), nn.ReLU(), nn.Linear(64, 9)
        ),
        torch.ones(32, 64),
        {"zeros-stored-dense", "below-break-even", "no-zeros"},
    ),
    "bare parameter": (
        lambda: Projection(pruned(64, 64)),
        torch.ones(32, 64),
        {"zeros-stored-dense"},
    ),
    "wrong axis": (
        lambda: nn.Sequential(filled(nn.Linear(64, 64), two_of_four(64, 64, axis=0))),
        torch.ones(32, 64),
        {"wrong-axis"},
    ),
    "wrong axis, turned": (
        lambda: Projection(two_of_four(64, 64, axis=1)),
        torch.ones(32, 64),
        {"wrong-axis"},
    ),
    "right axis": (
        lambda: nn.Sequential(filled(nn.Linear(64, 64), two_of_four(64, 64, axis=1))),
        torch.ones(32, 64),
        {"zeros-stored-dense"},
    ),
    "tiny": (lambda: nn.Sequential(linear(8, 8)), torch.ones(1, 8), {"shape"}),
    "dtype": (
        lambda: nn.Sequential(linear(dtype=torch.complex64)),
        torch.ones(32, 64, dtype=torch.complex64),
        {"no-kernel"},
    ),
    "conv1d": (
        lambda: nn.Sequential(filled(nn.Conv1d(8, 8, 3), pruned(8, 8, 3))),
        torch.ones(1, 8, 64),
        {"no-kernel"},
    ),
    "encoder": (encoder, torch.ones(2, 8, 64), {"breaks-fusion", "no-zeros"}),
    "lstm": (
        lambda: Wrapped(lambda self, x: self.rnn(x)[0], rnn=_pruned_lstm()),
        torch.ones(4, 8, 64),
        {"breaks-fusion", "no-zeros"},
    ),
    "tied": (tied, torch.ones(32, 4), {"not-exchangeable"}),
    "quantized": (Quantized, torch.ones(32, 64), {"not-exchangeable"}),
    "embedding": (
        lambda: nn.Sequential(filled(nn.Embedding(64, 64), pruned(64, 64)), nn.Linear(64, 9)),
        torch.zeros(2, 3, dtype=torch.long),
        {"looked-up", "no-zeros"},
    ),
    "convolutions": (conv_net, torch.ones(2, 16, 8, 8), {"no-zeros", "zeros-stored-dense"}),
    "spectral norm": (
        lambda: nn.Sequential(parametrizations.spectral_norm(linear())),
        torch.ones(32, 64),
        {"not-exchangeable"},
    ),
    "lora": (LowRank, torch.ones(32, 64), {"no-zeros"}),
    "experts": (Experts, torch.ones(32, 64), {"zeros-stored-dense", "no-zeros"}),
    "grouped": (
        lambda: nn.Sequential(filled(nn.Conv2d(16, 16, 3, groups=4), pruned(16, 4, 3, 3))),
        torch.ones(1, 16, 8, 8),
        {"unknown"},
    ),
    "2:4 by chance": (lambda: nn.Sequential(linear(64, 10)), torch.ones(1, 64), {"shape"}),
    "converted": (converted, torch.ones(32, 256), {"runs-sparse"}),
    "converted for nothing": (
        lambda: nn.Sequential(sc.nn.CSRLinear.from_dense(linear(sparsity=0.1))),
        torch.ones(32, 64),
        {"below-break-even"},
    ),
}


def _pruned_lstm() -> nn.LSTM:
    lstm = nn.LSTM(64, 64)
    with torch.no_grad():
        lstm.weight_ih_l0.copy_(torch.from_numpy(pruned(256, 64)))
    return lstm


@pytest.mark.parametrize("name", MODELS)
def test_the_verdict_is_the_reason(name: str) -> None:
    make, example, expected = MODELS[name]
    torch.manual_seed(0)
    diagnosis = doctor(make(), example)
    assert set(diagnosis.verdicts.values()) == expected
    for layer in diagnosis.layers:
        assert any(character.isdigit() for character in layer.verdict.sentence) or (
            layer.verdict.code in ("no-zeros", "not-exchangeable")
        )


def test_every_verdict_has_a_model() -> None:
    """Of those on layers: that on whole models has its own test."""
    found = {code for _, _, codes in MODELS.values() for code in codes}
    assert found == set(CODES) - {"convolutions-dominate"}


# ---- names ----


def renamed(module: nn.Module, generator: random.Random) -> None:
    """Give all submodules of containers other names, and all classes of the test's own."""
    for name, child in list(module._modules.items()):
        if child is not None:
            renamed(child, generator)
        if isinstance(module, nn.Sequential):
            del module._modules[name]
            module._modules[f"layer{generator.randrange(10**9)}"] = child
    if type(module).__module__ == __name__:
        title = f"C{generator.randrange(10**9)}"
        module.__class__ = type(title, (type(module),), {})


@pytest.mark.parametrize("name", MODELS)
def test_names_decide_nothing(name: str) -> None:
    make, example, _ = MODELS[name]
    results = []
    for seed in (None, 1, 2):
        torch.manual_seed(0)
        model = make()
        if seed is not None:
            renamed(model, random.Random(seed))
        results.append([layer.verdict.code for layer in doctor(model, example).layers])
    assert results[0] == results[1] == results[2]


# ---- numbers ----


def test_estimates_are_those_of_the_constants() -> None:
    (layer,) = doctor(nn.Sequential(linear(64, 128)), torch.ones(4, 8, 64)).layers
    (times,) = layer.times
    kept = 64 * 128 - round(0.9 * 64 * 128)
    assert times.rows == 32
    assert times.seconds["dense"] == pytest.approx(10e-6 + 64 * 128 * 32 * 1e-9)
    assert times.seconds["csr"] == pytest.approx(20e-6 + kept * 32 * 2e-9)
    # 20 us + d size rows 2 ns = 10 us + size rows 1 ns
    assert times.breakeven == pytest.approx(0.5 - 10e-6 / (64 * 128 * 32 * 2e-9), abs=2e-4)
    assert layer.facts.nbytes.csr == sc.CSR.from_dense(pruned(128, 64)).storage().total


def test_calls_add_up() -> None:
    layer = linear()
    model = Wrapped(lambda self, x: self.a(self.a(x)), a=layer)
    (found,) = doctor(model, torch.ones(32, 64)).layers
    once = doctor(nn.Sequential(layer), torch.ones(32, 64)).layers[0].times[0]
    assert found.times[0].seconds["csr"] == pytest.approx(2 * once.seconds["csr"])
    assert found.times[0].rows == 64


def test_the_bound_is_amdahls() -> None:
    model = nn.Sequential(linear(), nn.Linear(64, 64), nn.Linear(64, 64))
    summary = doctor(model, torch.ones(32, 64)).summary
    assert summary.basis == "seconds"
    assert summary.could_gain == pytest.approx(1 / 3)
    assert summary.bound == pytest.approx(1.5)
    dense, kept = 10e-6 + 4096 * 32e-9, 4096 - round(0.9 * 4096)
    sparse = 20e-6 + kept * 64e-9
    assert summary.expected == pytest.approx(3 * dense / (2 * dense + sparse))
    assert summary.macs == 3 * 4096 * 32
    assert (summary.weights, summary.zeros) == (3 * 4096, round(0.9 * 4096))


def test_dense_convolutions_decide_the_model() -> None:
    make, example, _ = MODELS["convolutions"]
    verdict = doctor(make(), example).summary.verdict
    assert verdict.code == "convolutions-dominate"
    work = 2 * (2 * 64 * 16 * 16 * 9)
    other = 2 * 16 * 64 * 16
    share = (20e-6 + work * 1e-9) / (30e-6 + (work + other) * 1e-9)
    assert f"{100 * share:.1f} %" in verdict.sentence


def test_pruned_convolutions_gain() -> None:
    model = nn.Sequential(conv(16, sparsity=0.9), conv(16, sparsity=0.9))
    diagnosis = doctor(model, torch.ones(1, 16, 8, 8))
    assert diagnosis.summary.verdict.code == "zeros-stored-dense"
    assert set(diagnosis.verdicts.values()) == {"zeros-stored-dense"}


# ---- remedies ----


def test_each_mask_has_its_remedy() -> None:
    remedies = {}
    for name in ("hook", "parametrization", "by hand"):
        make, example, _ = MODELS[name]
        remedies[name] = doctor(make(), example).layers[0].verdict.advice
    assert "prune.remove(" in remedies["hook"]
    assert "remove_parametrizations(" in remedies["parametrization"]
    assert "multiply the weight by its mask once" in remedies["by hand"]


def test_following_the_advice_helps() -> None:
    model: Any = hooked()
    prune.remove(model[0], "weight")
    assert doctor(model, torch.ones(32, 64)).verdicts == {"0.weight": "zeros-stored-dense"}
    sc.nn.sparsify_(model, torch.ones(32, 64), policy={"0": "csr"})
    assert doctor(model, torch.ones(32, 64)).verdicts == {"0": "runs-sparse"}


def test_more_than_one_thing_may_be_wrong() -> None:
    model = nn.Sequential(filled(nn.Linear(64, 64), two_of_four(64, 64, axis=0)))
    (layer,) = doctor(model, torch.ones(32, 64)).layers
    assert layer.verdict.code == "wrong-axis"
    assert [verdict.code for verdict in layer.further] == ["zeros-stored-dense", "below-break-even"]
    assert "50.0 % of the groups" in layer.verdict.sentence


# ---- without an example ----


@pytest.mark.parametrize("name", ["hook", "parametrization", "by hand"])
def test_masks_are_found_without_an_example(name: str) -> None:
    make, _, _ = MODELS[name]
    diagnosis = doctor(make())
    assert set(diagnosis.verdicts.values()) == {"mask-in-forward"}
    assert any("without example_inputs" in note for note in diagnosis.notes)


@pytest.mark.parametrize("name", ["mlp", "wrong axis", "dtype", "conv1d", "lstm"])
def test_types_tell_most_verdicts(name: str) -> None:
    make, _, expected = MODELS[name]
    assert set(doctor(make()).verdicts.values()) == expected


def test_what_torch_cannot_follow_is_unknown() -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        return self.a(x) if x.sum() > 0 else self.a(x + 1)

    model = Wrapped(forward, a=linear())
    assert doctor(model).layers[0].facts.masked is None
    assert doctor(model, torch.ones(32, 64)).layers[0].facts.masked is False


def test_the_model_stays_as_it_is() -> None:
    for name in ("hook", "parametrization", "encoder", "tied"):
        make, example, _ = MODELS[name]
        model = make().train()
        before = {key: value.clone() for key, value in model.state_dict().items()}
        attributes = {m: set(vars(m)) for m in model.modules()}
        for inputs in (None, example):
            doctor(model, inputs)
            assert all(torch.equal(value, before[k]) for k, value in model.state_dict().items())
            assert attributes == {m: set(vars(m)) for m in model.modules()}
            assert all(m.training for m in model.modules())


# ---- large and odd ----


def test_a_resnet_is_counted_exactly() -> None:
    model = ResNet20()
    diagnosis = doctor(model, torch.ones(1, 3, 32, 32))
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(diagnosis.layers) == len(layers)
    flops = sc.pruning.forward_flops(model, torch.ones(1, 3, 32, 32))
    assert diagnosis.summary.macs == sum(flops.values()) // 2


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_packed_weights_are_noted() -> None:
    quantize = torch.ao.quantization.quantize_dynamic
    model = quantize(nn.Sequential(linear()), {nn.Linear})
    diagnosis = doctor(model, torch.ones(2, 64))
    assert diagnosis.layers == ()
    assert any("quantized::linear_dynamic" in note for note in diagnosis.notes)


def test_compiled_models_are_diagnosed_as_written() -> None:
    model: Any = torch.compile(nn.Sequential(hooked()), backend="eager")
    assert set(doctor(model, torch.ones(2, 64)).verdicts.values()) == {"mask-in-forward"}


def test_meta_weights_are_unknown() -> None:
    (layer,) = doctor(nn.Sequential(nn.Linear(8, 8, device="meta"))).layers
    assert layer.verdict.code == "unknown"


def test_a_model_without_weights() -> None:
    diagnosis = doctor(nn.Sequential(nn.ReLU()), torch.ones(1))
    assert (diagnosis.layers, diagnosis.summary.verdict.code) == ((), "unknown")
    assert "no weight of a product" in str(diagnosis)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support:UserWarning")
def test_torch_sparse_weights_are_told() -> None:
    layer = linear()
    layer.weight = nn.Parameter(layer.weight.detach().to_sparse_csr(), False)
    (found,) = doctor(nn.Sequential(layer)).layers
    assert (found.facts.stored, found.verdict.code) == ("torch.sparse_csr", "runs-sparse")
    (report,) = sc.nn.sparsify_(nn.Sequential(layer), torch.ones(2, 64), policy="always").layers
    assert "to_dense()" in report.why
