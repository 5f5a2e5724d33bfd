"""nn/choose.py: the format of one layer, by the times and the bytes that it is given."""

from collections.abc import Mapping
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from linear_layers import check_forward, prune_, prune_24_  # noqa: E402
from sparsecore.nn import CSRLinear, Sparse24Linear, sparsify_  # noqa: E402
from sparsify_cases import FAST_24, FAST_CSR, FAST_DENSE, FakeTimer, Wrapped, of  # noqa: E402


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
    linear = model[0]
    report = sparsify_(model, x, timer=FakeTimer(seconds))
    assert type(model[0]) is kind
    (layer,) = report.layers
    assert layer.choice == choice
    assert layer.seconds == seconds
    assert layer.why.startswith(f"{choice} is the fastest: 1 s")
    check_forward(model[0], linear, x)


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
