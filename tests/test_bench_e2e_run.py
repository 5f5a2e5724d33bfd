"""A run of ``e2e``: fields of its JSON, its table and plot, wrong results, words."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

import sparsecore as sc
from e2e_cases import TINY, asked, measured
from sparsecore.bench.arguments import parse
from sparsecore.bench.comparison import WrongResult
from sparsecore.bench.e2e import measure as measuring
from sparsecore.bench.e2e import plot, table
from sparsecore.bench.e2e.macs import Macs
from sparsecore.bench.e2e.rows import Measured, row
from sparsecore.bench.e2e.run import measure
from sparsecore.bench.e2e.variants import Variant, relative_error
from sparsecore.bench.models import NETWORKS
from sparsecore.timing import Timing


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(NETWORKS, "tiny", TINY)  # type: ignore[arg-type]
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_a_run_says_of_every_row_what_was_measured_and_what_is_absent() -> None:
    document: Any = json.loads(json.dumps(measure(asked(), pinned=False)))
    rows = document["rows"]
    assert [(found["pattern"], found["sparsity"]) for found in rows] == [
        ("uniform", 50.0),
        ("uniform", 75.0),
        ("2:4", 50.0),
    ]
    for found in rows:
        assert (found["model"], found["batch"], found["threads"]) == ("tiny", 2, 1)
        assert (found["weights"], found["values"]) == ("random", "float32")
        assert found["best_dense"] == "torch eager"
        dense, own = found["engines"]["torch eager"]["median"], found["sparsecore"]["median"]
        assert found["speedup"] == pytest.approx(dense / own)
        assert found["best_int8"] is None
        assert found["sparsecore"]["error"] <= document["protocol"]["tolerance"]
        assert 0 <= found["sparse_share"] <= 1
        assert found["bound"] == pytest.approx(1 / found["macs_kept"])
        # (A convolution that runs sparse without zeros takes 6 bytes a weight instead of 4.)
        assert 0 < found["weight_bytes"]["sparse"] <= 1.6 * found["weight_bytes"]["dense"]
        assert sum(found["layers"].values()) > 0
    assert document["absent"]["onnxruntime"] == ["not asked for"]
    assert {"cpu", "versions", "git_commit"} <= set(document["machine"])
    text = table.markdown(document)
    assert "- absent: openvino (not asked for)" in text
    assert "| tiny | 2 | uniform | 75 % |" in text


def test_stored_values_add_rows_that_are_not_held_to_the_tolerance_of_fp32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    convert = sc.nn.sparsify_

    def always(*given: Any, **options: Any) -> Any:
        return convert(*given, **{**options, "policy": "always"})

    monkeypatch.setattr(sc.nn, "sparsify_", always)
    options = asked(patterns=("uniform",), sparsities=(75.0,), values=("bfloat16", "int8"))
    document: Any = json.loads(json.dumps(measure(options, pinned=False)))
    rows = document["rows"]
    assert [(found["pattern"], found["values"]) for found in rows] == [
        ("uniform", "float32"),
        ("uniform", "bfloat16"),
        ("uniform", "int8"),
    ]
    fp32, bfloat16, int8 = (found["sparsecore"]["error"] for found in rows)
    assert fp32 < 1e-5 < 1e-4 < bfloat16 < 0.1
    assert 1e-4 < int8 < 0.1
    sizes = [found["weight_bytes"]["sparse"] for found in rows]
    assert sizes == sorted(set(sizes), reverse=True)
    text = table.markdown(document)
    assert "- rows whose values are bfloat16 or int8 round by design: their error is" in text
    assert "| tiny | 2 | uniform | 75 % | int8 |" in text
    assert "round by design" not in table.markdown({**document, "rows": rows[:1]})


def test_an_output_that_is_wrong_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "TOLERANCE", -1.0)
    with pytest.raises(WrongResult, match=r"tiny, batch 2: torch eager is off by 0 of"):
        measure(asked(), pinned=False)


def test_the_best_dense_engine_is_never_an_int8_one() -> None:
    def engine(seconds: float, precision: str) -> Measured:
        return Measured(Timing(seconds, seconds, seconds, 5), 0.0, precision)

    engines = {
        "slow": engine(4.0, "float32"),
        "fast": engine(3.0, "float32"),
        "int8": engine(1.0, "int8"),
    }
    macs = Macs(total=400, prunable=380, kept=100, sparse=190)
    variant = Variant("uniform", 90.0, 0.9, torch.empty, 1e-7, macs, 100, 30, {"csr": 2})
    found = row({"model": "m"}, engines, {"gone": "not here"}, variant, Timing(2.0, 1.9, 2.1, 5))
    assert (found["best_dense"], found["speedup"]) == ("fast", 1.5)
    assert (found["best_int8"], found["speedup_over_int8"]) == ("int8", 0.5)
    assert (found["macs_kept"], found["bound"], found["sparse_share"]) == (0.25, 4.0, 0.5)
    assert found["absent"] == {"gone": "not here"}


def test_a_relative_error_is_of_the_largest_output() -> None:
    expected = torch.tensor([1.0, -4.0])
    assert relative_error(torch.tensor([1.5, -4.0]), expected) == 0.125
    assert relative_error(torch.zeros(3), expected) == float("inf")


def test_a_plot_has_a_panel_for_each_pattern_with_two_sparsities() -> None:
    pytest.importorskip("matplotlib")
    rows = [
        *(measured("uniform", sparsity, sparsity / 50) for sparsity in (50.0, 90.0)),
        *(measured("erk", sparsity, 1.0) for sparsity in (50.0, 90.0)),
        measured("global", 50.0, 1.0),
        measured("2:4", 50.0, 1.5),
    ]
    machine = {"cpu": "a processor", "target": "avx2"}
    document = {"rows": rows, "machine": machine, "protocol": {"threads": 1}}
    panels = plot.draw_networks(document).axes
    assert [axes.get_title()[:7] for axes in panels] == ["uniform", "Erdős-R"]
    with pytest.raises(ValueError, match="no series of sparsities"):
        plot.draw_networks({**document, "rows": rows[-2:]})


def test_defaults_are_every_network_at_its_own_batches_and_less_where_it_is_quick() -> None:
    whole, quick = parse(["e2e"]), parse(["e2e", "--quick"])
    assert len(whole.models) == 6
    assert (list(whole.batches), list(whole.values)) == ([], [])
    assert parse(["e2e", "--values", "bfloat16", "int8"]).values == ["bfloat16", "int8"]
    assert list(whole.sparsities) == [50.0, 70.0, 80.0, 90.0, 95.0]
    assert (list(quick.models), list(quick.sparsities)) == (["resnet20", "mlp"], [90.0])
    assert parse(["e2e", "--batches", "1", "64"]).batches == [1, 64]


@pytest.mark.parametrize(
    "words",
    [
        ["--models", "vgg"],
        ["--sparsities", "100"],
        ["--patterns", "1:4"],
        ["--target", "avx2"],
        ["--quick", "--plot", "--output", "one-sparsity.json"],
    ],
)
def test_words_that_make_no_sense_are_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["e2e", *words])
