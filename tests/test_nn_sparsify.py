"""nn/sparsify.py and what it stands on: choices under a timer that the test controls."""

import dataclasses
import itertools
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn.utils import parametrizations, prune  # noqa: E402

import sparsecore as sc  # noqa: E402
from sparsecore.nn import (  # noqa: E402
    CSRLinear,
    Sparse24Linear,
    load_choices,
    save_choices,
    sparsify_,
)
from sparsecore.nn.report import duration  # noqa: E402
from sparsecore.timing import Timing  # noqa: E402


class FakeTimer:
    """Answer with given seconds and note what was asked. Each contender is called once.

    `layer` gives a layer's seconds by format; `model` those of the whole model, in turns: pairs of
    dense and sparse.
    """

    def __init__(
        self,
        layer: Mapping[str, float] | Callable[[Mapping[str, Any]], Mapping[str, float]],
        model: list[tuple[float, float]] | None = None,
    ) -> None:
        self.layer = layer
        self.model = itertools.cycle(model or [(2.0, 1.0)])
        self.asked: list[list[str]] = []

    def __call__(self, contenders: Mapping[str, Callable[[], object]]) -> dict[str, Timing]:
        self.asked.append(list(contenders))
        for call in contenders.values():
            call()
        if "csr" in contenders or "2:4" in contenders:
            seconds = self.layer(contenders) if callable(self.layer) else self.layer
        else:
            seconds = dict(zip(("dense", "sparse"), next(self.model), strict=True))
        return {name: Timing(seconds[name], seconds[name], seconds[name], 1) for name in contenders}


FAST_CSR = {"dense": 3.0, "csr": 1.0, "2:4": 2.0}
FAST_24 = {"dense": 3.0, "csr": 2.0, "2:4": 1.0}
FAST_DENSE = {"dense": 1.0, "csr": 3.0, "2:4": 2.0}


def prune_(linear: Any, sparsity: float = 0.75) -> Any:
    """Set random weights to zero, leaving groups of four with more than two nonzeros."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        zero = torch.rand(linear.weight.shape, generator=generator) < sparsity
        linear.weight.masked_fill_(zero, 0)
        linear.weight[0, :3] = 1.0
    return linear


def prune_24_(linear: Any) -> Any:
    with torch.no_grad():
        linear.weight.masked_fill_(~sc.prune_24(linear.weight), 0)
    return linear


def mlp(*widths: int) -> Any:
    """Return a chain of pruned linear layers, named by their number, with ReLUs between."""
    torch.manual_seed(0)
    layers = [prune_(nn.Linear(*pair)) for pair in itertools.pairwise(widths)]
    with_relus = [module for layer in layers for module in (layer, nn.ReLU())]
    return nn.Sequential(*with_relus[:-1])


class Wrapped(nn.Module):
    """A model whose forward is the given function of the module and x."""

    def __init__(self, forward: Callable[[Any, Any], Any], **children: Any) -> None:
        super().__init__()
        for name, child in children.items():
            self.add_module(name, child)
        self.function = forward

    def forward(self, x: Any) -> Any:
        return self.function(self, x)


def of(report: Any, name: str) -> Any:
    return next(layer for layer in report.layers if layer.name == name)


def kinds(model: Any) -> list[type]:
    return [
        type(m) for m in model.modules() if isinstance(m, nn.Linear | CSRLinear | Sparse24Linear)
    ]


# ---- the measured policy ----


@pytest.mark.parametrize(
    ("seconds", "choice", "kind"),
    [
        (FAST_CSR, "csr", CSRLinear),
        (FAST_24, "2:4", Sparse24Linear),
        (FAST_DENSE, "dense", nn.Linear),
        ({"dense": 1.0, "csr": 1.0, "2:4": 1.0}, "dense", nn.Linear),
    ],
)
def test_the_fastest_is_taken_and_dense_on_a_tie(seconds: Any, choice: str, kind: type) -> None:
    model = nn.Sequential(prune_24_(nn.Linear(16, 8)))
    x = torch.randn(5, 16)
    before = model(x)
    report = sparsify_(model, x, timer=FakeTimer(seconds))
    assert type(model[0]) is kind
    (layer,) = report.layers
    assert layer.choice == choice
    assert layer.seconds == seconds
    assert layer.why.startswith(f"{choice} is the fastest: 1 s")
    # k = 16 products and a bias; see the tolerance of test_nn_modules.
    torch.testing.assert_close(model(x), before, rtol=0, atol=18 * 2**-23 * 16)


def test_24_is_measured_only_where_the_weights_are_24() -> None:
    timer = FakeTimer(FAST_CSR)
    model = nn.Sequential(prune_(nn.Linear(16, 8)), prune_24_(nn.Linear(8, 8)))
    report = sparsify_(model, torch.randn(2, 16), timer=timer)
    assert timer.asked == [["dense", "csr"], ["dense", "csr", "2:4"], ["dense", "sparse"]]
    assert [layer.is_24 for layer in report.layers] == [False, True]


def test_inputs_are_measured_in_the_shapes_dtypes_and_numbers_of_the_calls() -> None:
    seen: list[tuple[Any, ...]] = []

    def seconds(contenders: Mapping[str, Any]) -> Mapping[str, float]:
        (x,) = contenders["csr"].args
        seen.append((tuple(x.shape), x.dtype))
        return {"dense": 0.25 * len(x), "csr": 0.5}

    linear = prune_(nn.Linear(16, 16, dtype=torch.float64))
    model = Wrapped(lambda m, x: m.fc(m.fc(x))[:2].sum() + m.fc(x[:1, 0]).sum(), fc=linear)
    x = torch.randn(3, 4, 16, dtype=torch.float64)
    report = sparsify_(model, x, timer=FakeTimer(seconds))
    assert seen == [((3, 4, 16), torch.float64), ((1, 16), torch.float64)]
    layer = of(report, "fc")
    assert layer.rows == (12, 1)
    assert layer.seconds == {"dense": 2 * 0.75 + 0.25, "csr": 3 * 0.5}


def test_layers_go_back_to_dense_half_at_a_time_until_the_model_is_faster() -> None:
    gains = iter([4.0, 1.0, 2.0, 3.0, 5.0])
    timer = FakeTimer(
        lambda _: {"dense": 10.0, "csr": 10.0 - next(gains)},
        [(8.0, 9.5), (8.5, 9.0), (8.0, 8.0), (8.0, 8.0), (8.0, 6.0)],
    )
    model = mlp(8, 8, 8, 8, 8, 8)
    report = sparsify_(model, torch.randn(2, 8), timer=timer)
    # Of gains 4 1 2 3 5 the lower half (3 of 5) goes, then 1 of 2; a tie is not faster.
    assert [layer.choice for layer in report.layers] == ["dense"] * 4 + ["csr"]
    assert kinds(model) == [nn.Linear] * 4 + [CSRLinear]
    assert timer.asked[5:] == [["dense", "sparse"]] * 5
    assert (report.seconds_before, report.seconds_after) == (8.0, 6.0)
    assert of(report, "2").why.endswith("the whole model took 9 s with it, dense 8 s")
    assert of(report, "0").why.endswith("the whole model took 8 s with it, dense 8 s")
    assert of(report, "0").seconds == {"dense": 10.0, "csr": 6.0}


def test_a_loss_that_the_second_measurement_does_not_confirm_is_none() -> None:
    model = mlp(8, 8)
    timer = FakeTimer(FAST_CSR, [(5.0, 9.0), (6.0, 4.0)])
    report = sparsify_(model, torch.randn(2, 8), timer=timer)
    assert report.choices == {"0": "csr"}
    assert (report.seconds_before, report.seconds_after) == (5.0, 4.0)


def test_all_is_dense_where_no_part_makes_the_model_faster() -> None:
    model = mlp(8, 8, 8)
    linears = [model[0], model[2]]
    report = sparsify_(model, torch.randn(2, 8), timer=FakeTimer(FAST_CSR, [(1.0, 2.0)]))
    assert [model[0], model[2]] == linears
    assert report.choices == {"0": "dense", "2": "dense"}
    assert (report.seconds_before, report.seconds_after) == (1.0, 1.0)
    assert report.bytes_after == report.bytes_before
    assert report.max_error == 0.0


def test_the_whole_model_is_measured_dense_and_sparse() -> None:
    model = mlp(8, 8)
    seen: list[list[type]] = []

    def timer(contenders: Mapping[str, Callable[[], object]]) -> dict[str, Timing]:
        if "sparse" in contenders:
            for name in ("sparse", "sparse", "dense", "sparse", "dense", "dense"):
                contenders[name]()
                seen.append(kinds(model))
        return FakeTimer(FAST_CSR)(contenders)

    sparsify_(model, torch.randn(2, 8), timer=timer)
    s, d = [CSRLinear], [nn.Linear]
    assert seen == [s, s, d, s, d, d]
    assert kinds(model) == s


def test_the_real_timer_runs() -> None:
    model = mlp(8, 8)
    report = sparsify_(model, torch.randn(2, 8))
    (layer,) = report.layers
    assert set(layer.seconds) == {"dense", "csr"}
    assert layer.choice in layer.seconds
    assert report.seconds_before > 0
    assert report.seconds_after > 0


# ---- the other policies ----


def test_always_takes_the_smaller_sparse_format_and_measures_nothing() -> None:
    timer = FakeTimer(FAST_DENSE)
    half, sparse = prune_24_(nn.Linear(64, 32)), nn.Linear(32, 8)
    with torch.no_grad():
        sparse.weight.zero_()[:, ::8] = 1.0
    model = nn.Sequential(half, sparse, nn.Linear(8, 4))
    report = sparsify_(model, torch.randn(2, 64), policy="always", timer=timer)
    assert timer.asked == []
    assert report.choices == {"0": "2:4", "1": "csr", "2": "dense"}
    for layer in report.layers[:2]:
        sparse_bytes = {form: size for form, size in layer.nbytes.items() if form != "dense"}
        assert layer.nbytes[layer.choice] == min(sparse_bytes.values())
        assert layer.why.startswith(f"{layer.choice} is the smallest sparse format")
    assert of(report, "2").why == "it has no zeros: prune it first"
    assert (report.seconds_before, report.seconds_after) == (None, None)
    changed = sum(x.nbytes[x.choice] - x.nbytes["dense"] for x in report.layers)
    assert report.bytes_after - report.bytes_before == changed
    assert report.bytes_before == 4 * (64 * 32 + 32 + 32 * 8 + 8 + 8 * 4 + 4)


def test_choices_are_carried_out_and_other_layers_stay_dense() -> None:
    model = nn.Sequential(*(prune_24_(nn.Linear(8, 8)) for _ in range(4)))
    timer = FakeTimer(FAST_CSR)
    report = sparsify_(
        model, torch.randn(2, 8), policy={"0": "csr", "1": "2:4", "2": "dense"}, timer=timer
    )
    assert kinds(model) == [CSRLinear, Sparse24Linear, nn.Linear, nn.Linear]
    assert timer.asked == []
    assert list(report.choices.values()) == ["csr", "2:4", "dense", "dense"]
    assert of(report, "0").why == "it was given"
    assert of(report, "3").why == "the given choices do not name it"


def test_a_measured_report_is_replayed_from_a_file(tmp_path: Path) -> None:
    gains = iter([1.0, -1.0, 1.0])
    timer = FakeTimer(lambda _: {"dense": 5.0, "csr": 5.0 - next(gains)})
    first, second = mlp(8, 8, 8, 8), mlp(8, 8, 8, 8)
    x = torch.randn(2, 8)
    report = sparsify_(first, x, timer=timer)
    save_choices(tmp_path / "choices.json", report)
    replayed = sparsify_(second, x, policy=load_choices(tmp_path / "choices.json"))
    assert replayed.choices == report.choices == {"0": "csr", "2": "dense", "4": "csr"}
    assert kinds(second) == kinds(first)
    assert torch.equal(second(x), first(x))


def test_choices_beside_the_policy_are_neither_measured_nor_taken_back() -> None:
    model = mlp(8, 8, 8, 8)
    timer = FakeTimer(FAST_CSR, [(1.0, 2.0)])
    report = sparsify_(model, torch.randn(2, 8), choices={"0": "csr", "2": "dense"}, timer=timer)
    assert timer.asked == [["dense", "csr"], *[["dense", "sparse"]] * 3]
    assert report.choices == {"0": "csr", "2": "dense", "4": "dense"}
    assert (report.seconds_before, report.seconds_after) == (1.0, 2.0)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("fastest", "policy is 'fastest', expected 'measured', 'always' or a mapping"),
        ({"0": "coo"}, "policy has 'coo' for layer '0', expected one of 'dense', 'csr', '2:4'"),
        ({"9": "csr"}, "'9', which is no nn.Linear of the model"),
        ({"1": "csr"}, "'1', which is no nn.Linear of the model"),
        ({"0": "csr", "2": "2:4"}, r"layer '2'.*row 0.*group 0"),
        ({"4": "csr"}, "layer '4' cannot become csr: it has hooks"),
    ],
)
def test_choices_that_cannot_be_carried_out_change_nothing(policy: Any, message: str) -> None:
    model = mlp(8, 8, 8, 8)
    model[4].register_forward_hook(lambda *_: None)
    before = list(model)
    with pytest.raises(ValueError, match=message):
        sparsify_(model, torch.randn(2, 8), policy=policy)
    assert list(model) == before


# ---- layers that stay as they are ----


def stays_dense(model: Any, x: Any, name: str, reason: str) -> None:
    """Assert that the layer is left, for this reason, and that the model still works."""
    layer = model.get_submodule(name)
    report = sparsify_(model, x, policy="always")
    assert model.get_submodule(name) is layer
    assert of(report, name).choice == "dense"
    assert reason in of(report, name).why
    assert of(report, name).seconds == {}
    model.eval()(*x) if isinstance(x, tuple) else model.eval()(x)


def test_a_layer_that_is_not_called() -> None:
    model = Wrapped(
        lambda m, x: m.used(x), used=prune_(nn.Linear(8, 8)), idle=prune_(nn.Linear(8, 8))
    )
    stays_dense(model, torch.randn(2, 8), "idle", "the example did not call it")
    assert type(model.used) is CSRLinear


def test_a_layer_whose_weight_is_read_directly() -> None:
    def forward(m: Any, x: Any) -> Any:
        return F.linear(m.fc(x), m.fc.weight)

    model = Wrapped(forward, fc=prune_(nn.Linear(8, 8)))
    stays_dense(model, torch.randn(2, 8), "fc", "reads its weight directly")


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


def test_a_model_that_is_one_linear_layer() -> None:
    report = sparsify_(prune_(nn.Linear(8, 8)), torch.randn(2, 8))
    assert report.layers[0].choice == "dense"
    assert "wrap it in torch.nn.Sequential" in report.layers[0].why


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


def test_a_layer_registered_twice_is_one_layer() -> None:
    shared = prune_(nn.Linear(8, 8))
    model = nn.Sequential(shared, nn.Sequential(shared, nn.ReLU()), shared)
    report = sparsify_(model, torch.randn(2, 8), timer=FakeTimer(FAST_CSR))
    assert [layer.name for layer in report.layers] == ["0"]
    assert report.layers[0].seconds == {"dense": 9.0, "csr": 3.0}
    assert model[0] is model[1][0]
    assert model[0] is model[2]
    assert type(model[0]) is CSRLinear


def test_layers_are_found_by_type_in_any_container() -> None:
    model = Wrapped(
        lambda m, x: m.parts["first"](x) + m.items[0](x),
        parts=nn.ModuleDict({"first": prune_(nn.Linear(8, 8))}),
        items=nn.ModuleList([prune_(nn.Linear(8, 8)), nn.Identity()]),
    )
    report = sparsify_(model, torch.randn(2, 8), policy="always")
    assert report.choices == {"parts.first": "csr", "items.0": "csr"}


def test_a_model_without_linear_layers() -> None:
    report = sparsify_(nn.Sequential(nn.ReLU()), torch.randn(2, 8), timer=FakeTimer({}))
    assert report.layers == ()
    assert report.choices == {}
    assert str(report).startswith("nothing to convert: the model has no nn.Linear layer\n")
    assert "memory: 0 -> 0 bytes" in str(report)


def test_a_model_that_was_converted_before() -> None:
    model, x = mlp(8, 8), torch.randn(2, 8)
    sparsify_(model, x, policy="always")
    report = sparsify_(model, x, policy="always")
    assert (report.layers, report.already_sparse) == ((), ("0",))
    assert str(report).startswith("nothing to convert: already converted: 0\n")


def test_a_fresh_zero_model_takes_the_choices_and_then_the_state() -> None:
    model, x = nn.Sequential(prune_(nn.Linear(8, 8)), nn.ReLU(), nn.Linear(8, 8)), torch.ones(2, 8)
    with torch.no_grad():
        model[2].weight.masked_fill_(~sc.prune_24(model[2].weight.detach()), 0)
    report = sparsify_(model, x, policy={"0": "csr", "2": "2:4"})
    fresh = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    with torch.no_grad():
        for layer in (fresh[0], fresh[2]):
            layer.weight.zero_()
    sparsify_(fresh, x, policy=report.choices)
    fresh.load_state_dict(model.state_dict())
    assert [type(fresh[at]) for at in (0, 2)] == [CSRLinear, Sparse24Linear]
    assert torch.equal(fresh(x), model(x))


# ---- outputs ----


@pytest.mark.parametrize(
    ("dtype", "accumulator"),
    [
        (torch.float64, torch.float64),
        (torch.float32, torch.float32),
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
    ],
    ids=str,
)
def test_outputs_agree_in_every_dtype(dtype: Any, accumulator: Any) -> None:
    model = mlp(64, 64, 64, 8).to(dtype)
    x = torch.randn(7, 64).to(dtype)
    with torch.no_grad():
        before = model(x)
        report = sparsify_(model, x, policy="always")
        after = model(x)
    assert report.choices == {"0": "csr", "2": "csr", "4": "csr"}
    allowed = 66 * torch.finfo(accumulator).eps + torch.finfo(dtype).eps
    assert all(0 <= layer.error <= allowed for layer in report.layers)
    assert report.max_error <= 3 * allowed
    moved = (after.double() - before.double()).abs().max() / before.double().abs().max()
    assert report.max_error == pytest.approx(moved.item())


def test_a_layer_that_is_off_by_more_than_allowed_stays_dense() -> None:
    model = mlp(64, 64, 64)
    report = sparsify_(model, torch.randn(2, 64), policy="always", max_error=0.0)
    assert kinds(model) == [nn.Linear, nn.Linear]
    assert all("where 0 is allowed" in layer.why for layer in report.layers)


def test_wrong_kernels_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    right = CSRLinear.forward

    def wrong(self: Any, x: Any) -> Any:
        y = right(self, x)
        y.view(-1)[-1] *= 1 + 1e-3
        return y

    monkeypatch.setattr(CSRLinear, "forward", wrong)
    model = mlp(16, 4)
    report = sparsify_(model, torch.randn(3, 16), timer=FakeTimer(FAST_CSR))
    assert report.choices == {"0": "dense"}
    assert "csr is off by" in report.layers[0].why
    assert report.layers[0].seconds == {}


def test_a_model_whose_output_moves_goes_back_to_dense() -> None:
    calls = itertools.count()
    model = Wrapped(lambda m, x: m.fc(x) + next(calls), fc=prune_(nn.Linear(8, 8)))
    linear = model.fc
    report = sparsify_(model, torch.randn(2, 8), policy="always")
    assert model.fc is linear
    assert "the model's output differs by" in report.layers[0].why
    assert report.max_error == 0.0


def test_nan_and_infinite_weights_agree() -> None:
    model = mlp(16, 8)
    with torch.no_grad():
        model[0].weight[0, 0] = torch.nan
        model[0].weight[1, 1] = torch.inf
    report = sparsify_(model, torch.randn(3, 16), policy="always")
    assert report.choices == {"0": "csr"}


@dataclasses.dataclass
class Output:
    scores: Any
    extra: Any


def test_outputs_of_any_structure_are_compared() -> None:
    def forward(m: Any, x: Any) -> Any:
        y = m.fc(x)
        return Output(scores=(y, [y.argmax()]), extra={"sum": float(y.sum()), "none": None})

    model = Wrapped(forward, fc=prune_(nn.Linear(64, 64)))
    report = sparsify_(model, torch.randn(2, 64), policy="always")
    assert 0 < report.max_error < 1e-5


# ---- the example, and what is left of it ----


class Many(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = prune_(nn.Linear(8, 8))

    def forward(self, x: Any, *, y: Any = None) -> Any:
        return self.fc(x if y is None else x + y["z"][0])


@pytest.mark.parametrize(
    "inputs",
    [
        torch.ones(3, 8),
        (torch.ones(3, 8),),
        {"x": torch.ones(3, 8), "y": {"z": [torch.ones(3, 8)]}},
    ],
)
def test_example_inputs_of_each_kind(inputs: Any) -> None:
    report = sparsify_(Many(), inputs, policy="always")
    assert report.layers[0].rows == (3,)


def test_other_example_inputs_are_an_error() -> None:
    with pytest.raises(TypeError, match="example_inputs is a list, expected a tensor, a tuple"):
        sparsify_(Many(), [torch.ones(3, 8)])


def test_the_example_is_not_edited() -> None:
    model = nn.Sequential(nn.ReLU(inplace=True), prune_(nn.Linear(8, 8)))
    x = torch.randn(4, 8)
    before = x.clone()
    sparsify_(model, x, timer=FakeTimer(FAST_CSR))
    assert torch.equal(x, before)


class Disturbing(nn.Module):
    """Writes to buffers, makes some, counts, draws random numbers, and minds its mode."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("last", None)
        self.fc = prune_(nn.Linear(8, 8))
        self.norm = nn.BatchNorm1d(8)
        # Writes to its buffers whenever its weight is looked at in training mode.
        self.spectral = parametrizations.spectral_norm(nn.Linear(8, 8))
        self.frozen = nn.Dropout().eval()
        self.calls = 0

    def forward(self, x: Any) -> Any:
        self.count += 1
        self.last = x
        self.calls += 1
        self.register_buffer("new", x)
        return self.frozen(self.norm(self.spectral(self.fc(x + torch.rand_like(x)))))


@pytest.mark.parametrize("fails", [False, True])
def test_modes_buffers_and_random_state_are_as_before(fails: bool) -> None:
    model = Disturbing().train()
    model.frozen.eval()
    linear = model.fc
    buffers = {name: tensor.clone() for name, tensor in model.named_buffers()}
    count = model.count

    def timer(contenders: Mapping[str, Callable[[], object]]) -> dict[str, Timing]:
        if fails and "sparse" in contenders:
            contenders["sparse"]()
            raise KeyboardInterrupt
        return FakeTimer(FAST_CSR)(contenders)

    x = torch.randn(4, 8)
    state = torch.get_rng_state()
    if fails:
        with pytest.raises(KeyboardInterrupt):
            sparsify_(model, x, timer=timer)
        assert model.fc is linear
    else:
        sparsify_(model, x, timer=timer)
        assert type(model.fc) is CSRLinear
    assert torch.equal(torch.get_rng_state(), state)
    assert model.count is count
    assert model.last is None
    assert model.calls == 0
    assert not hasattr(model, "new")
    assert {
        name: tensor.tolist() for name, tensor in model.named_buffers() if "fc" not in name
    } == {name: tensor.tolist() for name, tensor in buffers.items()}
    assert (model.training, model.fc.training, model.norm.training) == (True, True, True)
    assert not model.frozen.training


def test_lazy_modules_have_to_run_first() -> None:
    model = nn.Sequential(prune_(nn.Linear(8, 8)), nn.LazyLinear(4))
    with pytest.raises(ValueError, match=r"1\.weight of the model has no shape yet"):
        sparsify_(model, torch.ones(2, 8))
    model(torch.ones(2, 8))
    assert sparsify_(model, torch.ones(2, 8), policy="always").choices == {"0": "csr", "1": "dense"}


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
def test_scripted_parts_are_left_alone() -> None:
    scripted = torch.jit.script(nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8)))
    model = nn.Sequential(prune_(nn.Linear(8, 8)), scripted)
    assert sparsify_(model, torch.ones(2, 8), policy="always").choices == {"0": "csr"}
    assert scripted.training


def test_a_forward_that_fails_leaves_the_model_as_it_was() -> None:
    def forward(m: Any, x: Any) -> Any:
        m.fc(x)
        msg = "no such input"
        raise RuntimeError(msg)

    model = Wrapped(forward, fc=prune_(nn.Linear(8, 8)))
    linear = model.fc
    with pytest.raises(RuntimeError, match="no such input"):
        sparsify_(model, torch.ones(2, 8))
    assert model.fc is linear
    assert model.training


def test_inside_inference_mode_the_layers_stay_trainable() -> None:
    model = mlp(8, 8)
    with torch.inference_mode():
        sparsify_(model, torch.ones(2, 8), policy="always")
    model(torch.ones(2, 8)).sum().backward()
    assert model[0].values.grad is not None


def test_threads_are_set_for_the_measurement_only() -> None:
    before = torch.get_num_threads(), sc.get_num_threads()
    wanted = 2 if before[0] == 1 else 1
    during: list[tuple[int, int]] = []

    def timer(contenders: Mapping[str, Callable[[], object]]) -> dict[str, Timing]:
        during.append((torch.get_num_threads(), sc.get_num_threads()))
        return FakeTimer(FAST_CSR)(contenders)

    sparsify_(mlp(8, 8), torch.ones(2, 8), threads=wanted, timer=timer)
    assert set(during) == {(wanted, wanted)}
    assert (torch.get_num_threads(), sc.get_num_threads()) == before
    with pytest.raises(ValueError, match="sparsify_: threads is 0"):
        sparsify_(mlp(8, 8), torch.ones(2, 8), threads=0)


def test_progress_is_told_after_each_layer_and_the_model() -> None:
    told: list[tuple[int, int, str]] = []
    sparsify_(
        mlp(8, 8, 8), torch.ones(2, 8), policy="always", progress=lambda *step: told.append(step)
    )
    assert told == [(1, 3, "0"), (2, 3, "2"), (3, 3, "the whole model")]


def test_training_goes_on() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(prune_(nn.Linear(16, 32)), nn.ReLU(), prune_24_(nn.Linear(32, 1)))
    x, y = torch.randn(64, 16), torch.randn(64, 1)
    sparsify_(model, x, policy="always")
    structure = [model[0].indices.clone(), model[2].metadata.clone()]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(50):
        loss = F.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert torch.equal(model[0].indices, structure[0])
    assert torch.equal(model[2].metadata, structure[1])


# ---- the report ----


def a_report() -> Any:
    model = nn.Sequential(prune_24_(nn.Linear(8, 8)), nn.Linear(8, 4))
    return sparsify_(model, torch.ones(2, 8), timer=FakeTimer(FAST_24, [(4e-3, 1e-3)]))


def test_the_table_shows_each_layer_with_reason_and_the_totals() -> None:
    text = str(a_report())
    lines = text.splitlines()
    assert lines[0].split() == [
        *("layer", "shape", "sparsity", "2:4", "rows", "dense", "csr", "2:4", "bytes", "choice")
    ]
    assert lines[2].split()[:5] == ["0", "8", "x", "8", "50.0%"]
    assert lines[2].endswith("2:4")
    assert lines[3].endswith("dense")
    assert "0: 2:4 is the fastest: 1 s, dense 3 s, csr 2 s" in lines
    assert "1: it has no zeros: prune it first" in lines
    assert "time:   4 ms -> 1 ms (4.00x)" in lines
    assert text.isascii()


def test_the_report_is_json() -> None:
    report = a_report()
    as_dict = report.to_dict()
    assert json.loads(json.dumps(as_dict)) == as_dict
    assert as_dict["layers"][0]["choice"] == "2:4"
    assert as_dict["layers"][0]["shape"] == [8, 8]
    assert as_dict["layers"][0]["seconds"] == FAST_24
    assert as_dict["seconds_after"] == 1e-3


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 ns"),
        (2.5e-9, "2.5 ns"),
        (45.6e-6, "45.6 us"),
        (0.00123, "1.23 ms"),
        (0.9999, "1 s"),
        (12.0, "12 s"),
        (12345.0, "12300 s"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "choices.json is not JSON"),
        ("[1]", "is a list, expected a mapping"),
        ('{"fc": "coo"}', "'coo' for layer 'fc'"),
        ('{"fc": ["csr"]}', "for layer 'fc'"),
    ],
)
def test_a_file_that_holds_no_choices(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "choices.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_choices(path)


def test_choices_that_are_none_are_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'sparse' for layer 'fc'"):
        save_choices(tmp_path / "choices.json", {"fc": "sparse"})
    assert not (tmp_path / "choices.json").exists()
