"""`sc.doctor` on live models: one for each verdict, found by structure and never by names."""

from __future__ import annotations

import random
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn.utils import prune  # noqa: E402

import diagnosis_models  # noqa: E402
import sparsecore as sc  # noqa: E402
from diagnosis_cases import costs, pruned, two_of_four  # noqa: E402
from diagnosis_models import MODELS, conv, filled, hooked, linear  # noqa: E402
from sparsecore.bench.models.resnet import ResNet20  # noqa: E402
from sparsecore.diagnosis import CODES, Diagnosis  # noqa: E402
from sparsify_cases import Wrapped  # noqa: E402


def doctor(model: nn.Module, example: Any = None, **options: Any) -> Diagnosis:
    return sc.doctor(model, example, costs=costs, **options)


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
    if type(module).__module__ == diagnosis_models.__name__:
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


def test_a_mask_comes_before_what_rules_out_every_form() -> None:
    """Of a convolution that has no kernel, either."""
    layer = prune.l1_unstructured(nn.Conv1d(8, 8, 3), "weight", 0.9)
    (found,) = doctor(nn.Sequential(layer), torch.ones(1, 8, 64)).layers
    assert found.verdict.code == "mask-in-forward"
    assert "no-kernel" in {verdict.code for verdict in found.further}


def test_following_the_advice_helps() -> None:
    model: Any = hooked()
    prune.remove(model[0], "weight")
    assert doctor(model, torch.ones(32, 64)).verdicts == {"0.weight": "zeros-stored-dense"}
    sc.nn.sparsify_(model, torch.ones(32, 64), policy={"0": "csr"})
    assert doctor(model, torch.ones(32, 64)).verdicts == {"0": "runs-sparse"}


def test_more_than_one_thing_may_be_wrong() -> None:
    """With 8 rows half of the entries are too many for CSR, too: the axis explains it better."""
    model = nn.Sequential(filled(nn.Linear(64, 64), two_of_four(64, 64, axis=0)))
    (layer,) = doctor(model, torch.ones(8, 64)).layers
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


def test_a_class_of_ones_own_is_no_form() -> None:
    """What only carries a name more is dense; what torch wraps is taken for neither."""
    own = type("Own", (nn.Parameter,), {})
    model = nn.Sequential(linear(), linear())
    for layer in model:
        layer.weight = own(layer.weight.detach())
    stored = {layer.facts.stored for layer in doctor(model, torch.ones(32, 64)).layers}
    assert stored == {"dense"}
    assert set(doctor(model, torch.ones(32, 64)).verdicts.values()) == {"not-exchangeable"}
    wrapper = type("Wrapper", (Tensor,), {})
    weight = torch.from_numpy(pruned(64, 64)).as_subclass(wrapper)
    model[0].weight = nn.Parameter(weight, requires_grad=False)
    first = doctor(model, torch.ones(32, 64)).layers[0]
    assert (first.facts.stored, first.facts.is_sparse) == ("Wrapper", False)
    assert "zeros-stored-dense" not in first.codes


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


# ---- what cannot be followed ----


def test_nothing_is_to_do_where_the_model_forbids_it() -> None:
    make, example, _ = MODELS["tied"]
    (layer,) = doctor(make(), example).layers
    assert layer.verdict.code == "not-exchangeable"
    assert [(one.code, one.advice) for one in layer.further] == [("zeros-stored-dense", "")]


def test_what_is_to_do_after_the_mask_is_called_so() -> None:
    (layer,) = doctor(hooked(), torch.ones(32, 64)).layers
    (further,) = layer.further
    assert further.code == "zeros-stored-dense"
    assert further.advice.startswith("after that, ")
