"""Conversion of a model that lies on a device: linear layers to CSR, the rest as it was."""

import pytest

import sparsecore as sc
from sparsecore import _core
from sparsecore.cuda import events

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch import nn  # noqa: E402

from chain_cases import conv, linear, pruned  # noqa: E402
from linear_layers import generator  # noqa: E402
from sparsecore.nn import place  # noqa: E402
from sparsecore.nn.example import Example  # noqa: E402
from sparsecore.timing import Timing  # noqa: E402
from sparsify_cases import FAST_CSR, FAST_DENSE, FakeTimer  # noqa: E402

pytestmark = pytest.mark.gpu


def net(gpu, dtype=torch.float32):
    """Return a convolution, two linear layers, and what is between them, on the device."""
    layers = (conv(), nn.ReLU(), nn.Flatten(), linear(64, 20), nn.ReLU(), linear(20, 5))
    return nn.Sequential(*layers).to(gpu, dtype)


def images(gpu, dtype=torch.float32):
    return torch.randn(3, 4, 4, 4, generator=generator(1)).to(gpu, dtype)


def close(got, want, tolerance=1e-5):
    assert got.device == want.device
    torch.testing.assert_close(got.cpu(), want.cpu(), rtol=tolerance, atol=tolerance)


class Clock:
    """A timer that calls each contender once, and finds the sparse ones the fastest."""

    def __init__(self):
        self.asked = []

    def __call__(self, contenders):
        self.asked.append(set(contenders))
        for call in contenders.values():
            call()
        seconds = {"dense": 3.0, "fused": 2.0}
        return {name: Timing(*[seconds.get(name, 1.0)] * 3, 1) for name in contenders}


@pytest.mark.parametrize("trainable", [True, False])
def test_linear_layers_are_measured_as_csr_and_convolutions_stay(trainable, gpu):
    model, x = net(gpu), images(gpu)
    want, timer = model(x).detach(), Clock()
    report = sc.nn.sparsify_(model, x, trainable=trainable, channels_last=False, timer=timer)
    assert report.choices == {"0": "dense", "3": "csr", "5": "csr"}
    assert "where convolutions have no sparse kernel" in report.layers[0].why
    whole = {"dense", "sparse"} if trainable else {"dense", "fused", "sparse"}
    assert timer.asked == [{"dense", "csr"}] * 2 + [whole]
    assert report.seconds_after < report.seconds_before
    assert report.max_error < 1e-6
    assert report.fused == ("" if trainable else "2 activations")  # and nothing chained
    assert repr(model).count("kernel=per call" if trainable else "kernel=merge") == 2
    with torch.no_grad():
        close(model(x), want)


def test_what_is_slower_or_less_exact_stays_dense(gpu):
    for timer, options, why in (
        (FakeTimer(FAST_DENSE), {}, "dense is the fastest"),
        (FakeTimer(FAST_CSR, [(1.0, 2.0)]), {}, "the whole model took"),
        (FakeTimer(FAST_CSR), {"max_error": 0.0}, "is off by"),
    ):
        model, x = net(gpu), images(gpu)
        want = model(x).detach()
        report = sc.nn.sparsify_(model, x, timer=timer, **options)
        assert set(report.choices.values()) == {"dense"}
        assert why in report.layers[1].why
        assert (model(x) == want).all()


def test_the_devices_clock_measures_unless_a_timer_is_given(gpu, monkeypatch):
    asked = []

    def seconds_of_calls(device):
        def seconds(call, calls):
            asked.append(device)
            call()
            return calls * 1e-2

        return seconds

    monkeypatch.setattr(place, "seconds_of_calls", seconds_of_calls)
    model = nn.Sequential(linear()).to(gpu)
    report = sc.nn.sparsify_(model, torch.ones(3, 8, device=gpu))
    assert set(asked) == {model[0].bias.device}
    assert report.layers[0].seconds == pytest.approx({"dense": 1e-2, "csr": 1e-2})
    assert place.elapsed_of_place(nn.ReLU(), caller="") is None


def test_an_interval_between_events_is_of_the_calls(gpu):
    x, called = torch.ones(9, device=gpu), []
    seconds = events.seconds_of_calls(x.device)(lambda: called.append(x + 1), 7)
    assert len(called) == 7
    assert 0 < seconds < 60


def test_choices_of_a_file_are_carried_out(gpu, tmp_path):
    x = images(gpu)
    sc.nn.save_choices(tmp_path / "choices.json", {"3": "csr", "5": "dense"})
    model = net(gpu)
    want = model(x).detach()
    report = sc.nn.sparsify_(model, x, policy=sc.nn.load_choices(tmp_path / "choices.json"))
    assert report.choices == {"0": "dense", "3": "csr", "5": "dense"}
    close(model(x), want)


def test_choices_without_a_kernel_there_are_refused(gpu):
    model, x = net(gpu), images(gpu)
    place_of = f"its weight is on {model[0].weight.device}"
    with pytest.raises(ValueError, match=f"layer '0' cannot become csr: {place_of}"):
        sc.nn.sparsify_(model, x, policy={"0": "csr"})


@pytest.mark.parametrize("policy", ["always", {"0": "2:4"}])
def test_a_model_pruned_to_24_becomes_24(policy, gpu):
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU())
    sc.pruning.prune(model, 0.5, pattern=sc.pruning.NM(2, 4))
    model, x = model.to(gpu), torch.randn(5, 64, generator=generator(3)).to(gpu)
    want = model(x).detach()
    report = sc.nn.sparsify_(model, x, policy=policy, trainable=False)
    assert report.choices == {"0": "2:4"}
    close(model(x), want)
    assert "format=2:4" in repr(model)
    assert "kernel=rows" in repr(model)


def test_16_bit_layers_of_few_rows_run_on_tensor_cores(gpu):
    x = torch.randn(3, 64, generator=generator(1)).to(gpu, torch.bfloat16)
    model = nn.Sequential(pruned(nn.Linear(64, 20))).to(gpu, torch.bfloat16)
    want = model(x).detach()
    sc.nn.sparsify_(model, x, policy="always", trainable=False)
    assert "kernel=delta4" in repr(model)
    close(model(x), want, 2e-2)


def test_narrow_values_and_measured_layers(gpu):
    model, x = net(gpu), images(gpu)
    table = sc.nn.measure_layers(model, x, sparsities=(0.5,), timer=Clock())
    assert [layer.name for layer in table.layers] == ["3", "5"]
    assert "convolutions have no sparse kernel" in table.skipped["0"]
    want = model(x).detach()
    report = sc.nn.sparsify_(model, x, policy="always", trainable=False, values="int8")
    assert report.layers[1].values == "int8"
    close(model(x), want, 5e-2)


def test_dead_units_are_removed_there(gpu):
    pytest.importorskip("torch_pruning", reason="torch-pruning is not installed")
    model, x = net(gpu), images(gpu)
    with torch.no_grad():
        model[3].weight[4] = 0
        model[5].weight[:, 7] = 0
    want, dead = model(x).detach(), (model[3].weight == 0).all(1) | (model[5].weight == 0).all(0)
    sc.nn.shrink_(model, x)
    assert model[3].weight.shape == (20 - int(dead.sum()), 64)
    close(model(x), want)


def test_the_devices_generator_is_put_back(gpu):
    if _core.cuda_is_emulated:
        pytest.skip("an emulated device has the processor's generator")
    model = nn.Sequential(linear()).to(gpu)
    before = torch.cuda.get_rng_state(gpu)
    x = torch.ones(3, 8, device=gpu)
    Example.of(x).output(nn.Sequential(model, _Noisy()))
    assert (torch.cuda.get_rng_state(gpu) == before).all()


class _Noisy(nn.Module):
    def forward(self, x):
        return x + torch.rand_like(x)
