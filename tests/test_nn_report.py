"""nn/report.py: the table, the values as JSON, and durations as text."""

import json

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from linear_layers import prune_24_  # noqa: E402
from sparsecore.durations import duration  # noqa: E402
from sparsecore.nn import Report, sparsify_  # noqa: E402
from sparsify_cases import FAST_24, FakeTimer  # noqa: E402


def a_report() -> Report:
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
