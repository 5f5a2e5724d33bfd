"""nn/sparsify.py: a call of `sparsify_`, the models that it takes, and what they can do then."""

from collections.abc import Callable, Mapping

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

import sparsecore as sc  # noqa: E402
from linear_layers import prune_, prune_24_  # noqa: E402
from sparsecore.nn import sparsify_  # noqa: E402
from sparsecore.timing import Timing  # noqa: E402
from sparsify_cases import FAST_CSR, FakeTimer, mlp  # noqa: E402


def test_the_real_timer_runs() -> None:
    model = mlp(8, 8)
    report = sparsify_(model, torch.randn(2, 8))
    (layer,) = report.layers
    assert set(layer.seconds) == {"dense", "csr"}
    assert layer.choice in layer.seconds
    assert report.seconds_before > 0
    assert report.seconds_after > 0


def test_progress_is_told_after_each_layer_and_the_model() -> None:
    told: list[tuple[int, int, str]] = []
    sparsify_(
        mlp(8, 8, 8), torch.ones(2, 8), policy="always", progress=lambda *step: told.append(step)
    )
    assert told == [(1, 3, "0"), (2, 3, "2"), (3, 3, "the whole model")]


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


def test_a_model_without_linear_layers() -> None:
    report = sparsify_(nn.Sequential(nn.ReLU()), torch.randn(2, 8), timer=FakeTimer({}))
    assert report.layers == ()
    assert report.choices == {}
    assert str(report).startswith(
        "nothing to convert: the model has no nn.Linear or nn.Conv2d layer\n"
    )
    assert "memory: 0 -> 0 bytes" in str(report)


def test_a_model_that_was_converted_before() -> None:
    model, x = mlp(8, 8), torch.randn(2, 8)
    sparsify_(model, x, policy="always")
    report = sparsify_(model, x, policy="always")
    assert (report.layers, report.already_sparse) == ((), ("0",))
    assert str(report).startswith("nothing to convert: already converted: 0\n")


def test_lazy_modules_have_to_run_first() -> None:
    model = nn.Sequential(prune_(nn.Linear(8, 8)), nn.LazyLinear(4))
    with pytest.raises(ValueError, match=r"1\.weight of the model has no shape yet"):
        sparsify_(model, torch.ones(2, 8))
    model(torch.ones(2, 8))
    assert sparsify_(model, torch.ones(2, 8), policy="always").choices == {"0": "csr", "1": "dense"}


def test_inside_inference_mode_the_layers_stay_trainable() -> None:
    model = mlp(8, 8)
    with torch.inference_mode():
        sparsify_(model, torch.ones(2, 8), policy="always")
    model(torch.ones(2, 8)).sum().backward()
    assert model[0].values.grad is not None


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


def test_layers_that_will_only_be_run_are_prepared() -> None:
    model = mlp(128, 128)
    x = torch.randn(2, 128)
    before = model(x)
    report = sparsify_(model, x, trainable=False, timer=FakeTimer(FAST_CSR))
    (layer,) = [module for module in model if isinstance(module, sc.nn.CSRLinear)]
    assert list(report.choices.values()) == ["csr"]
    assert [name for name, _ in layer.named_parameters()] == ["bias"]
    assert report.layers[0].nbytes["csr"] == layer.nbytes
    torch.testing.assert_close(model(x), before, rtol=1e-4, atol=1e-4)
