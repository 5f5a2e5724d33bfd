"""sparsify_ on models with convolutions: choices, fusion, what stays dense and why."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from sparsecore.nn import CSRConv2d, sparsify_  # noqa: E402
from sparsecore.nn.fused import FusedConv2d  # noqa: E402
from sparsify_cases import FAST_CSR, FAST_DENSE, FakeTimer, Wrapped, of  # noqa: E402


def pruned(*arguments: Any, **options: Any) -> nn.Conv2d:
    conv = nn.Conv2d(*arguments, **options)
    with torch.no_grad():
        conv.weight.mul_(torch.rand_like(conv.weight) < 0.4)
    return conv


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = [pruned(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), pruned(8, 4, 1, stride=2)]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64, 10))
    model(torch.randn(4, 3, 8, 8))  # statistics
    return model.eval()


def images(batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def test_convolutions_become_sparse_and_the_report_says_how() -> None:
    model = network()
    expected = model(images())
    report = sparsify_(model, images(), timer=FakeTimer(FAST_CSR))
    assert report.choices == {"0": "csr", "3": "csr", "5": "dense"}
    assert [type(model[i]) for i in (0, 1, 2, 3)] == [
        CSRConv2d,
        nn.BatchNorm2d,
        nn.ReLU,
        CSRConv2d,
    ]
    assert torch.allclose(model(images()), expected, atol=1e-5)
    layer = of(report, "0")
    assert (layer.shape, layer.rows) == ((8, 27), (2 * 8 * 8,))
    assert of(report, "3").rows == (2 * 4 * 4,)
    assert 0.5 < layer.sparsity < 0.7
    assert report.fused == ""
    assert report.seconds_fused is None


class ThreeTimes(FakeTimer):
    """Answers for models that are measured fused, too."""

    def __call__(self, contenders: Any) -> Any:
        if "fused" not in contenders:
            return super().__call__(contenders)
        self.asked.append(list(contenders))
        for call in contenders.values():
            call()
        seconds = dict(zip(("dense", "fused", "sparse"), next(self.model), strict=True))
        from sparsecore.timing import Timing

        return {n: Timing(seconds[n], seconds[n], seconds[n], 1) for n in contenders}


def test_for_running_layers_are_fused_first() -> None:
    model = network()
    expected = model(images())
    timer = ThreeTimes(FAST_CSR, [(3.0, 2.0, 1.0)])
    report = sparsify_(model, images(), trainable=False, timer=timer)
    assert type(model[0]) is CSRConv2d
    assert model[0].activation == "relu"
    assert type(model[1]) is nn.Identity
    assert torch.allclose(model(images()), expected, atol=1e-5)
    assert report.fused == "1 BatchNorm, 1 activation, 2 layers chained"
    assert (report.seconds_before, report.seconds_fused, report.seconds_after) == (3.0, 2.0, 1.0)
    assert timer.asked[-1] == ["dense", "fused", "sparse"]
    assert "dense, but fused: 2 s" in str(report)


def test_a_sparse_model_slower_than_the_fused_dense_one_goes_back_to_that() -> None:
    model = network()
    timer = ThreeTimes(FAST_CSR, [(9.0, 4.0, 5.0)])
    report = sparsify_(model, images(), trainable=False, timer=timer)
    assert set(report.choices.values()) == {"dense"}
    assert type(model[0]) is FusedConv2d
    assert report.seconds_after == 4.0
    assert of(report, "0").why.endswith("the whole model took 5 s with it, dense 4 s")


def test_fusing_that_does_not_pay_is_undone() -> None:
    model = network()
    modules = list(model.modules())
    timer = ThreeTimes(FAST_DENSE, [(3.0, 3.5, 9.0)])
    report = sparsify_(model, images(), trainable=False, timer=timer)
    assert list(model.modules()) == modules
    assert "forward" not in vars(model)
    assert report.fused == ""
    assert report.seconds_after == report.seconds_before == 3.0
    assert report.bytes_after == report.bytes_before


@pytest.mark.parametrize("call", range(6))
def test_all_is_as_it_was_after_an_exception(call: int) -> None:
    model = network()
    modules = list(model.modules())

    class Broken(ThreeTimes):
        def __call__(self, contenders: Any) -> Any:
            if len(self.asked) == call:
                raise KeyboardInterrupt
            return super().__call__(contenders)

    with pytest.raises(KeyboardInterrupt):
        sparsify_(model, images(), trainable=False, timer=Broken(FAST_CSR, [(3.0, 2.0, 1.0)]))
    assert list(model.modules()) == modules
    assert "forward" not in vars(model)


def test_a_fused_model_that_differs_is_not_fused() -> None:
    def aliased(m: Any, x: torch.Tensor) -> torch.Tensor:
        y = m.c(x)
        z = y
        y += 1  # z, too, which a trace does not know
        return m.relu(m.d(z))

    model = Wrapped(aliased, c=pruned(3, 4, 1), d=pruned(4, 4, 1), relu=nn.ReLU()).eval()
    expected = model(images())
    report = sparsify_(model, images(), policy="always", trainable=False)
    assert report.fused == ""
    assert report.choices == {"c": "2:4", "d": "csr"}  # three channels, of which two stay
    assert torch.allclose(model(images()), expected, atol=1e-5)


def test_channels_last_is_measured_and_kept() -> None:
    model = network()
    x = images().contiguous(memory_format=torch.channels_last)
    seen: list[bool] = []

    def layer(contenders: Any) -> Any:
        (y,) = (contenders["csr"](),)
        seen.append(y.is_contiguous(memory_format=torch.channels_last))
        return FAST_CSR

    sparsify_(model, x, timer=FakeTimer(layer))
    assert seen == [True, True]
    y = model[0](x)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert not model[0](images()).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("better", [False, True])
def test_the_order_of_images_is_what_the_whole_model_likes(better: bool) -> None:
    model = network()
    expected = model(images())
    timer = ThreeTimes(FAST_CSR, [(3.0, 2.0, 1.0)])
    timer.orders = {"as given": 2.0, "channels_last": 1.0 if better else 2.0}
    report = sparsify_(model, images(), trainable=False, timer=timer)
    assert report.channels_last is better
    assert model(images()).allclose(expected, atol=1e-5)
    seen: list[bool] = []
    model[3].register_forward_pre_hook(lambda _, x: seen.append(x[0].stride()[1] == 1))
    model(images())
    assert seen == [better]
    again = sparsify_(
        network(), images(), policy=report.choices, trainable=False, channels_last=better
    )
    assert again.channels_last is better


def test_a_model_that_runs_in_one_order_of_images_keeps_to_it() -> None:
    """`view` joins axes that channels_last tears apart."""
    parts = {"one": pruned(3, 8, 3, padding=1), "two": pruned(8, 4, 1, stride=2)}
    model = Wrapped(lambda m, x: m.two(m.one(x).relu()).view(-1, 64), **parts).eval()
    expected = model(images())
    timer = ThreeTimes(FAST_CSR, [(3.0, 2.0, 1.0)])
    timer.orders = {"as given": 2.0, "channels_last": 1.0}
    report = sparsify_(model, images(), trainable=False, timer=timer)
    assert report.choices == {"one": "csr", "two": "csr"}
    assert not report.channels_last
    assert model(images()).allclose(expected, atol=1e-5)


# torch warns that it copies the image for such padding.
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize(
    ("conv", "why"),
    [
        (lambda: pruned(3, 4, 3, padding=1, padding_mode="reflect"), "padding_mode is 'reflect'"),
        (lambda: pruned(3, 4, 2, padding="same"), "padding='same' is one more on one side"),
        (lambda: nn.Conv2d(3, 4, 3), "it has no zeros"),
        (lambda: torch.nn.utils.parametrizations.weight_norm(pruned(3, 4, 3)), "parametrized"),
    ],
)
def test_what_stays_dense(conv: Any, why: str) -> None:
    model = nn.Sequential(conv())
    report = sparsify_(model, images(), policy="always")
    assert report.choices == {"0": "dense"}
    assert why in of(report, "0").why
    if "no zeros" not in why:
        with pytest.raises(ValueError, match="layer '0' cannot become csr"):
            sparsify_(model, images(), policy={"0": "csr"})


def test_larger_convolutions_are_not_24() -> None:
    model = nn.Sequential(pruned(4, 4, 3))
    with pytest.raises(ValueError, match=r"layer '0': .*other convolutions have no 2:4 kernel"):
        sparsify_(model, torch.randn(1, 4, 3, 3), policy={"0": "2:4"})


def test_groups_dilation_and_single_images() -> None:
    torch.manual_seed(2)
    layers = [pruned(3, 6, 3, groups=3, dilation=2, padding="same"), pruned(6, 4, (1, 2))]
    model = nn.Sequential(*layers)
    for x in (images(3), images(1)[0]):
        expected = model(x)
        other = nn.Sequential(*layers)
        report = sparsify_(other, x, policy="always")
        assert set(report.choices.values()) == {"csr"}
        assert torch.allclose(other(x), expected, atol=1e-5)
