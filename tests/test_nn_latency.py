"""nn/latency.py: what is measured of each layer, and the table that allocation takes."""

import copy
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from sparsecore import pruning  # noqa: E402
from sparsecore.nn import CSRConv2d, CSRLinear, LatencyTable, LayerTimes, measure_layers  # noqa: E402
from sparsecore.timing import Timing  # noqa: E402


class Noting:
    """A timer that keeps the contenders, and says 1 s for dense and 0.01 s for each nonzero."""

    def __init__(self) -> None:
        self.seen: list[Mapping[str, Any]] = []

    def __call__(self, contenders: Mapping[str, Callable[[], object]]) -> dict[str, Timing]:
        self.seen.append(contenders)
        times = {}
        for name, call in contenders.items():
            call()
            seconds = 1.0 if name == "dense" else 0.01 * int(name.removeprefix("csr "))
            times[name] = Timing(seconds, 0.0, 9.0, 1)
        return times


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 10)
    )


def test_each_layer_is_measured_on_its_own_input_with_its_largest_weights() -> None:
    model, timer = network().eval(), Noting()
    x = torch.rand(2, 3, 4, 4)
    before = copy.deepcopy(model.state_dict())
    expected = model(x)
    table = measure_layers(model, x, (0.9, 0.5), trainable=True, timer=timer)
    assert [type(module) for module in model] == [type(module) for module in network()]
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert torch.equal(model(x), expected)
    assert table.layers == (
        LayerTimes("0", 108, 1.0, ((11, 0.11), (54, 0.54))),
        LayerTimes("4", 160, 1.0, ((16, 0.16), (80, 0.8))),
    )
    for contenders, kind, shape in zip(
        timer.seen, (CSRConv2d, CSRLinear), ((2, 3, 4, 4), (2, 16)), strict=True
    ):
        dense = contenders["dense"].func
        for name, call in contenders.items():
            assert tuple(call.args[0].shape) == shape
            if name == "dense":
                continue
            assert type(call.func) is kind
            weight = call.func.to_dense().weight
            kept = int(name.removeprefix("csr "))
            mask = pruning.prune_mask(dense.weight.detach().abs(), kept)
            assert torch.equal(weight, dense.weight * mask)


def test_layers_are_measured_fused_and_prepared_for_running() -> None:
    model, timer = network().eval(), Noting()
    table = measure_layers(model, torch.rand(2, 3, 4, 4), (0.5,), timer=timer)
    assert [layer.name for layer in table.layers] == ["0", "4"]
    convolution = timer.seen[0]["csr 54"].func
    assert not any(True for _ in convolution.parameters() if _.ndim > 1)  # its weight is packed
    x = torch.randn(2, 3, 4, 4)
    assert bool((convolution(x) >= 0).all())  # the ReLU is part of it
    assert type(model[0]) is nn.Conv2d
    assert "forward" not in vars(model)


def test_zeros_of_the_weight_count_as_entries_where_more_are_wanted() -> None:
    model = nn.Sequential(nn.Linear(8, 4, bias=False))
    nn.init.zeros_(model[0].weight)
    timer = Noting()
    measure_layers(model, torch.rand(1, 8), (0.25,), trainable=True, timer=timer)
    assert int(timer.seen[0]["csr 24"].func.to_dense().weight.count_nonzero()) == 24


def test_a_layer_that_cannot_run_sparse_is_skipped_with_the_reason() -> None:
    model = nn.ModuleDict({"used": nn.Linear(4, 4), "idle": nn.Linear(4, 4)})
    model.forward = lambda x: model["used"](x)
    table = measure_layers(model, torch.rand(2, 4), (0.5,), timer=Noting())
    assert [layer.name for layer in table.layers] == ["used"]
    assert table.skipped == {"idle": "the example did not call it"}


def test_the_real_timer_runs() -> None:
    (layer,) = measure_layers(nn.Sequential(nn.Linear(64, 64)), torch.rand(4, 64), (0.9,)).layers
    assert layer.dense > 0
    assert layer.csr[0][1] > 0


def test_bad_arguments() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    with pytest.raises(ValueError, match=r"measure_layers: sparsity is 1.0, expected a fraction"):
        measure_layers(model, torch.rand(2, 4), (1.0,))
    with pytest.raises(ValueError, match="measure_layers: sparsities is empty"):
        measure_layers(model, torch.rand(2, 4), ())
    with pytest.raises(TypeError, match="measure_layers: example_inputs is a list"):
        measure_layers(model, [torch.rand(2, 4)])
    with pytest.raises(ValueError, match=r"measure_layers: 0.weight of the model has no shape"):
        measure_layers(nn.Sequential(nn.LazyLinear(4)), torch.rand(2, 4))


# ---- the table ----


def test_the_faster_form_counts_at_every_number_of_weights() -> None:
    """Against min(dense, CSR interpolated), where CSR costs more the more it keeps."""
    layer = LayerTimes("fc", 1000, 4.0, ((100, 1.0), (300, 2.5), (700, 7.3), (1000, 11.0)))
    times = {"fc": layer.fastest()}
    counts = np.arange(100, 1001)
    csr = np.interp(counts, *zip(*layer.csr, strict=True))
    found = [pruning.allocation.predicted_seconds(times, {"fc": int(k)}) for k in counts]
    slope = (7.3 - 2.5) / 400  # one weight's time, by which the crossing is rounded
    np.testing.assert_allclose(found, np.minimum(csr, 4.0), atol=slope)


def test_allocation_by_a_table_takes_parameter_names() -> None:
    model = network().eval()
    table = measure_layers(model, torch.rand(2, 3, 4, 4), (0.9, 0.5), timer=Noting())
    scores = pruning.scores.lamp({n: p for n, p in model.named_parameters() if p.ndim > 1})
    kept = pruning.allocation.latency(scores, table.times(), 1.0)
    assert sum(kept.values()) == 100  # of 0.01 s each
    assert table.dense_seconds == 2.0
    assert table.least_seconds == 0.11 + 0.16
    least = pruning.allocation.latency(scores, table.times(), table.least_seconds)
    assert least == {"0.weight": 11, "4.weight": 16}


def test_json_round_trip_and_what_is_refused() -> None:
    table = LatencyTable((LayerTimes("a", 9, 0.1, ((1, 1 / 3), (9, 2e-5))),), {"b": "it is tied"})
    assert LatencyTable.from_json(table.to_json()) == table
    for text in ("[]", "{", json.dumps({"layers": [{"name": "a"}], "skipped": {}})):
        with pytest.raises(ValueError, match="text is no table that to_json wrote"):
            LatencyTable.from_json(text)
    with pytest.raises(ValueError, match=r"'a' has the kept counts \[3, 2\], expected rising"):
        LayerTimes("a", 9, 0.1, ((3, 1.0), (2, 1.0)))
    with pytest.raises(ValueError, match=r"kept counts \[10\], expected rising ones of 0 to .* 9"):
        LayerTimes("a", 9, 0.1, ((10, 1.0),))
    with pytest.raises(ValueError, match=r"'a' has the times \[0.1, -1.0\]"):
        LayerTimes("a", 9, 0.1, ((3, -1.0),))
