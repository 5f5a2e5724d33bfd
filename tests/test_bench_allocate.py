"""bench/trained allocate: every allocation meets the same budget, and each is checked and shown."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from sparsecore.bench.trained import allocate, allocate_table  # noqa: E402
from sparsecore.bench.trained.images import Images  # noqa: E402
from sparsecore.nn import LatencyTable, LayerTimes  # noqa: E402
from sparsecore.pruning import allocation  # noqa: E402
from sparsecore.timing import Timing  # noqa: E402


def counted(contenders: Mapping[str, Callable[[], object]]) -> dict[str, Timing]:
    """Say 100 ms for dense layers, 0.1 ms for each nonzero of a sparse one, 1 s for all others."""
    times = {}
    for name, call in contenders.items():
        call()
        known = {"dense": 0.1, "csr": 0.01}
        seconds = known.get(name, 1.0)
        if name.startswith("csr "):
            seconds = 1e-4 * int(name.removeprefix("csr "))
        times[name] = Timing(seconds, seconds, seconds, 1)
    return times


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 8, 3, stride=4), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten())
    return nn.Sequential(*layers, nn.Linear(32, 30), nn.ReLU(), nn.Linear(30, 10)).eval()


def test_the_least_sparse_counts_within_a_budget_are_found() -> None:
    def allocate_one(sparsity: float) -> dict[str, int]:
        return allocation.uniform({"a": (10, 10)}, sparsity)

    def seconds(kept: Mapping[str, int]) -> float:
        return kept["a"] / 10

    found = [
        allocate.least_sparse_within(allocate_one, seconds, budget, 100)
        for budget in (0.05, 0.1, 3.75, 9.95, 10.0, 99.0)
    ]
    assert found == [None, {"a": 1}, {"a": 37}, {"a": 99}, {"a": 100}, {"a": 100}]


def test_all_allocations_use_the_same_budget_up() -> None:
    weights = {n: p.detach() for n, p in network().named_parameters() if p.ndim > 1}
    layers = [
        LayerTimes(name.removesuffix(".weight"), w.numel(), w.numel() * price, ((0, 0.0),))
        for (name, w), price in zip(weights.items(), (4.0, 1.0, 2.0), strict=True)
    ]
    table = LatencyTable(tuple(layers), {})
    budget = 0.3 * table.dense_seconds
    found = allocate.allocations_at(weights, table, budget)
    times = table.times()
    for name, kept in found.items():
        assert kept is not None, name
        # One more weight in all is one of the dearest at most, or moves a few between layers.
        assert budget - 8.0 <= allocation.predicted_seconds(times, kept) <= budget, name
    kept_weights = {name: sum(kept.values()) for name, kept in found.items() if kept}
    assert kept_weights["latency, squares"] != kept_weights["global magnitude"]
    poor = allocate.allocations_at(weights, table, 0.5)  # less than the cheapest weight
    assert poor.pop("latency, LAMP") == poor.pop("latency, squares") == dict.fromkeys(weights, 0)
    assert set(poor.values()) == {None}


def test_a_document_has_a_row_for_each_allocation() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 3, 32, 32, generator=generator)
    y = torch.arange(40) % 10
    images = Images(x[:20], y[:20], x[20:], y[20:], "noise")
    document: Any = json.loads(
        json.dumps(
            allocate.document(
                network(),
                images,
                counted,
                chooser=counted,
                batches=(2,),
                budgets=(0.8,),
                epochs=1,
                protocol={"threads": 1},
            )
        )
    )
    sizes = {"0.weight": 216, "4.weight": 960, "6.weight": 300}
    rows = {row["name"]: row for row in document["rows"]}
    assert list(rows) == [
        *("uniform", "ERK", "global magnitude", "LAMP"),
        *("latency, squares", "latency, LAMP"),
    ]
    assert rows["uniform"]["kept"] == allocation.uniform({n: (s,) for n, s in sizes.items()}, 0.8)
    for name, row in rows.items():
        assert row["budget"]["seconds"] == pytest.approx(1e-4 * 295), name  # a fifth of 1476
        assert row["predicted_seconds"] <= row["budget"]["seconds"] * (1 + 1e-9), name
        assert row["sparsity"] == pytest.approx(1 - sum(row["kept"].values()) / 1476), name
        assert set(row["choices"]) == {"0", "4", "6"}
    assert [layer["size"] for layer in document["tables"]["2"]["layers"]] == list(sizes.values())
    text = allocate_table.markdown(document)
    assert "| 2 | 29.5 ms (uniform 80%) | uniform | 80.0% | " in text
    assert text.count("\n| 2 | ") == 6


def test_a_budget_that_no_sparsity_meets_is_said() -> None:
    row = {"batch": 1, "budget": {"seconds": 1e-3, "uniform": 0.9}, "name": "ERK", "kept": None}
    document = {
        "title": "t",
        "images": "i",
        "accuracy_dense": 0.5,
        "epochs": 1,
        "machine": {"cpu": "c"},
        "protocol": {"threads": 1},
        "floor": {"drift": 0.0, "quiet": True},
        "rows": [row],
    }
    text = allocate_table.markdown(document)
    assert "| 1 | 1 ms (uniform 90%) | ERK | no sparsity meets the budget |" in text
