"""nn/settle.py: layers go back to dense where the whole model is slower or wrong with them."""

import itertools
from collections.abc import Callable, Mapping

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from linear_layers import prune_  # noqa: E402
from sparsecore.nn import CSRLinear, sparsify_  # noqa: E402
from sparsecore.timing import Timing  # noqa: E402
from sparsify_cases import FAST_CSR, FakeTimer, Wrapped, kinds, mlp, of  # noqa: E402


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


@pytest.mark.parametrize(
    ("slow_sample", "choice"), [(6.9, "csr"), (7.1, "dense")], ids=["clear", "in doubt"]
)
def test_a_gain_in_doubt_has_to_be_confirmed(slow_sample: float, choice: str) -> None:
    # Samples of dense from 7 on, of sparse up to slow_sample; the second time, dense takes 5.
    first = {"dense": Timing(8.0, 7.0, 9.0, 5), "sparse": Timing(6.0, 5.0, slow_sample, 5)}
    second = {"dense": Timing(5.0, 5.0, 5.0, 5), "sparse": Timing(6.0, 6.0, 6.0, 5)}
    answers = itertools.chain([first], itertools.repeat(second))

    def timer(contenders: Mapping[str, Callable[[], object]]) -> Mapping[str, Timing]:
        return next(answers) if "sparse" in contenders else FakeTimer(FAST_CSR)(contenders)

    report = sparsify_(mlp(8, 8), torch.randn(2, 8), timer=timer)
    assert report.choices == {"0": choice}
    assert choice == "csr" or report.layers[0].why.endswith("took 6 s with it, dense 5 s")


@pytest.mark.parametrize(("slow_sample", "is_fused"), [(6.9, True), (7.1, False)])
def test_what_fusion_gains_has_to_be_confirmed_too(slow_sample: float, is_fused: bool) -> None:
    first = {"dense": Timing(8.0, 7.0, 9.0, 5), "fused": Timing(6.0, 5.0, slow_sample, 5)}
    second = {"dense": Timing(5.0, 5.0, 5.0, 5), "fused": Timing(6.0, 6.0, 6.0, 5)}
    answers = iter([first, second])
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
    x = torch.randn(2, 8)
    report = sparsify_(model, x, trainable=False, timer=lambda _: next(answers))
    assert bool(report.fused) is is_fused
    assert report.seconds_after == (6.0 if is_fused else 5.0)


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


def test_a_model_whose_output_moves_goes_back_to_dense() -> None:
    calls = itertools.count()
    model = Wrapped(lambda m, x: m.fc(x) + next(calls), fc=prune_(nn.Linear(8, 8)))
    linear = model.fc
    report = sparsify_(model, torch.randn(2, 8), policy="always")
    assert model.fc is linear
    assert "the model's output differs by" in report.layers[0].why
    assert report.max_error == 0.0
