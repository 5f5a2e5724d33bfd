"""python -m sparsecore.bench: pinned, told what to do by words, its files name no machine."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench_cases import small
from sparsecore.bench import dlmc, table
from sparsecore.bench.arguments import parse
from sparsecore.bench.pinning import environment
from sparsecore.bench.run import measure

SIZES = ["--shape", "16x24", "8x8", "--sparsities", "50", "75", "--columns", "1", "2"]
QUICK = ["--min-runs", "1", "--min-seconds", "0"]


def start(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "sparsecore.bench", *words],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_run_writes_json_table_and_plot_that_name_no_machine(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    output = tmp_path / "small.json"
    # Without torch and Eigen, which take long to load and to compile.
    done = start("spmm", *SIZES, *QUICK, "--peers", "scipy", "--output", str(output), "--plot")
    assert done.returncode == 0, done.stderr
    text, markdown = output.read_text(), output.with_suffix(".md").read_text()
    document = json.loads(text)
    assert [(row["M"], row["sparsity"], row["N"]) for row in document["rows"]] == [
        (m, sparsity, n) for m in (16, 8) for sparsity in (50.0, 75.0) for n in (1, 2)
    ]
    for row in document["rows"]:
        assert row["dense_baseline"] in row["contenders"]
        assert "numpy dense" in row["ratio"]
    assert document["absent"]["mkl"] == ["not asked for"]
    assert "- absent: mkl (not asked for)" in markdown
    assert "sparsecore plan, first call" in markdown
    if document["protocol"]["pinned"]:
        assert document["machine"]["cores"] == document["machine"]["threads"] == 1
    source = str(Path(__file__).resolve().parent.parent)
    for private in (socket.gethostname(), str(Path.home()), source, str(tmp_path)):
        assert not re.search(rf"(?<!\w){re.escape(private)}(?!\w)", text + markdown)
    assert output.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_every_library_is_told_the_threads_and_the_target_before_it_loads() -> None:
    assert environment(1, None)["MKL_THREADING_LAYER"] == "SEQUENTIAL"
    assert environment(4, None)["MKL_THREADING_LAYER"] == "GNU"
    assert {environment(4, None)[f"{name}_NUM_THREADS"] for name in ("OMP", "MKL", "OPENBLAS")} == {
        "4"
    }
    assert "SPARSECORE_TARGET" not in environment(1, None)
    assert environment(1, "avx2")["SPARSECORE_TARGET"] == "avx2"


def test_a_document_that_has_no_sparsities_becomes_a_table_but_no_plot() -> None:
    plot = pytest.importorskip("sparsecore.bench.plot")
    pytest.importorskip("matplotlib")
    options = small("24", columns=[1], peers=(), min_runs=1, min_seconds=0.0)
    document: Any = json.loads(json.dumps(measure(options, pinned=False)))
    text = table.markdown(document)
    assert "numpy dense" in text
    assert "not pinned" in text
    with pytest.raises(ValueError, match="no series of sparsities"):
        plot.draw(document)


def test_defaults_are_the_five_shapes_and_less_where_it_is_quick() -> None:
    whole, quick = parse(["spmm"]), parse(["spmm", "--quick"])
    assert len(whole.shapes) == 5
    assert (whole.min_runs, list(whole.columns)) == (15, [8, 32, 128, 512])
    assert list(quick.shapes) == [(512, 512)]
    assert list(parse(["spmv"]).columns) == [1]
    assert list(parse(["spmm", "--dlmc"]).columns) == [32, 128, 256]
    assert (parse(["spmm", "--dlmc"]).dlmc, parse(["spmm", "--dlmc", "2"]).dlmc) == (0, 2)
    assert parse(["spmm", "--shape", "3x5", "7x9"]).shapes == [(3, 5), (7, 9)]
    assert parse(["spmm", "--quick", "--min-seconds", "0"]).min_seconds == 0


@pytest.mark.parametrize(
    "words",
    [
        ["spmm", "--shape", "3"],
        ["spmm", "--output", "table.txt"],
        ["spmm", "--plot"],
        ["build", "--plot", "--output", "build.json"],
        ["spmm", "--peers", "unheard-of"],
        ["spmm", "--dtype", "float8"],
    ],
)
def test_words_that_make_no_sense_are_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit):
        parse(words)


def test_more_threads_than_cores_are_refused() -> None:
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system does not pin")
    done = start("spmm", "--threads", "4096")
    assert (done.returncode, "--threads is 4096" in done.stderr) == (1, True)


def test_a_sample_of_patterns_has_small_and_large_ones_of_each_sparsity() -> None:
    def pattern(name: str, sparsity: float, side: int) -> dlmc.Pattern:
        return dlmc.Pattern(name, sparsity, (side, side), None, None)

    found = [pattern("c", 90.0, 3), pattern("a", 90.0, 1), pattern("b", 90.0, 2)]
    found.append(pattern("d", 50.0, 9))
    assert [p.name for p in dlmc.sample(found, 0)] == ["d", "a", "b", "c"]
    assert [p.name for p in dlmc.sample(found, 1)] == ["d", "a"]
    assert [p.name for p in dlmc.sample(found, 2)] == ["d", "a", "c"]


def test_patterns_of_the_collection_are_compared(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARSECORE_DATA", str(data_dir))
    if not (data_dir / "dlmc_dev.tar.xz").is_file():
        pytest.skip("the collection is not in the external data")
    from bench_cases import cases

    (case,) = cases(small("spmm", dlmc=1, sparsities=[98.0], columns=[2], peers=()))
    assert case.labels["pattern"] == "rn50/magnitude_pruning/initial_conv"
    assert (case.labels["M"], case.labels["K"], case.labels["nnz"]) == (64, 147, 188)


def test_patterns_that_are_absent_end_the_run(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARSECORE_DATA", str(tmp_path))
        with pytest.raises(FileNotFoundError, match=r"dlmc_dev\.tar\.xz is absent"):
            dlmc.archive()


@pytest.mark.parametrize(
    "option",
    [
        ["--shape", "7by5"],
        ["--sparsities", "150"],
        ["--sparsities", "nan"],
        ["--columns", "-3"],
        ["--min-runs", "0"],
        ["--seed", "-1"],
        ["--output", "results.txt"],
    ],
    ids=str,
)
def test_options_that_mean_nothing_are_refused(
    option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(["spmm", *option])
    assert f"argument {option[0]}" in capsys.readouterr().err
