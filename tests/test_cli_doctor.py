"""``sparsecore doctor``: what it prints at which width, its JSON, and its exit codes."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import save_file

import sparsecore as sc
from demo_cases import sparsecore
from diagnosis_cases import costs, pruned
from sparsecore.cli import doctor as command
from sparsecore.cli.doctor_table import print_diagnosis
from sparsecore.diagnosis import examine

LONG = "model.layers.10.self_attn.and_a_name_that_no_narrow_terminal_has_room_for.weight"


@pytest.fixture(autouse=True)
def known_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let estimates go by known constants: nothing is measured, and torch is not asked for."""

    def diagnose(path: Path, **options: Any) -> sc.diagnosis.Diagnosis:
        return examine.doctor(path, costs=costs, **options)

    monkeypatch.setattr(command, "diagnose", diagnose)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    weights = {LONG: pruned(64, 64), "head": pruned(64, 64, sparsity=0.0)}
    save_file(weights, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


@pytest.fixture
def full(tmp_path: Path) -> Path:
    save_file({"head": np.ones((64, 64))}, tmp_path / "full.safetensors")
    return tmp_path / "full.safetensors"


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_nothing_is_cut_at_any_width(file: Path, width: int) -> None:
    diagnosis = sc.doctor(file, costs=costs)
    written = io.StringIO()
    console = Console(width=width, file=written)
    print_diagnosis(console, diagnosis)
    text = written.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    together = " ".join(text.split())
    assert diagnosis[LONG].verdict.sentence in together
    assert "1 weight has no zeros" in together
    glued = text.replace("\n", "").replace(" ", "")
    assert LONG in glued
    for number in ("90.0%", "16.4kB", "~1.06ms", "64x64"):
        assert number in glued
    assert ("float32" in glued) == (width >= 100)


def test_json_is_the_diagnosis(file: Path) -> None:
    result = sparsecore("doctor", file, "--json", "--fail-on", "none", "--batch", "1,8")
    assert result.exit_code == 0
    content = json.loads(result.stdout)
    want = sc.doctor(file, costs=costs, batch=(1, 8)).to_dict()
    for one in (content, want):
        del one["machine"]
    assert content == want


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ((), 1),
        (("--fail-on", "none"), 0),
        (("--fail-on", "mask-in-forward,below-break-even"), 0),
        (("--fail-on", "no-zeros"), 1),
        (("--json",), 1),
    ],
)
def test_the_exit_code_is_what_was_asked_for(
    file: Path, options: tuple[str, ...], code: int
) -> None:
    assert sparsecore("doctor", file, *options).exit_code == code


def test_a_file_without_zeros_is_fine(full: Path) -> None:
    result = sparsecore("doctor", full)
    assert result.exit_code == 0
    assert "1 weight has no zeros" in result.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--batch", "1,x"), "'1,x' is not a list of natural numbers"),
        (("--input-shape", "0"), "'0' is not a list of natural numbers"),
        (("--batch", "1" + "0" * 26), "of 2147483647 at most"),
        (("--input-shape", "9" * 20 + ",16"), "Invalid value for '--input-shape'"),
        (("--fail-on", "slow"), "'slow' is none of mask-in-forward,"),
        (("--threads", "0"), "0 is not in the range"),
    ],
)
def test_bad_usage_is_two(file: Path, options: tuple[str, ...], message: str) -> None:
    result = sparsecore("doctor", file, *options)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


def test_what_cannot_be_read_is_two_and_one_line(file: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(file.read_bytes()[:-50])
    unknown = tmp_path / "model.txt"
    unknown.write_text("weights")
    for path in (broken, unknown, tmp_path / "absent.safetensors"):
        result = sparsecore("doctor", path)
        assert (result.exit_code, result.stdout) == (2, "")
        (line,) = result.stderr.splitlines()
        assert line.startswith("Error: ")
        assert path.name in line


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError("no room for 3 GB"), "not enough memory: no room for 3 GB"),
        (MemoryError(), "not enough memory"),
        (ModuleNotFoundError("no torch"), "no torch"),
    ],
)
def test_what_goes_wrong_later_is_two_and_one_line(
    full: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    """1 would be taken for a verdict."""

    def fails(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(command, "diagnose", fails)
    result = sparsecore("doctor", full)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"Error: {words}\n"


def test_rows_that_no_memory_has_room_for(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where torch gets no memory, it raises a RuntimeError."""
    pytest.importorskip("torch")
    from sparsecore.diagnosis import measuring

    def fails(*_: Any, **__: Any) -> None:
        msg = "DefaultCPUAllocator: not enough memory"
        raise RuntimeError(msg)

    monkeypatch.setattr(measuring, "measure_weight", fails)
    result = sparsecore("doctor", file, "--measure", "--batch", "2000000000")
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert "cannot be measured with 2000000000 rows: DefaultCPUAllocator" in line
    assert file.name in line


def test_the_page_is_written(file: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert sparsecore("doctor", file, "--html", page, "--fail-on", "none").exit_code == 0
    text = page.read_text(encoding="utf-8")
    assert LONG in text
    assert "zeros are stored dense" in text
    assert "<table" in sc.doctor(file, costs=costs)._repr_html_()
    absent = tmp_path / "absent" / "page.html"
    assert sparsecore("doctor", file, "--html", absent).exit_code == 2


def test_names_steer_no_terminal(tmp_path: Path) -> None:
    path = tmp_path / "hostile.safetensors"
    save_file({"[red]\x1b[2Jfc": pruned(64, 64), "a\nb": np.ones((4, 4))}, path)
    result = sparsecore("doctor", path)
    assert "\x1b" not in result.output
    assert "[red]\\x1b[2Jfc" in result.output
    assert "a\\nb" in result.output
    assert "\x1b" not in str(sc.doctor(path, costs=costs))


def test_odd_files_are_diagnosed(tmp_path: Path) -> None:
    """Weights of no entries, of one axis only, and none at all."""
    for weights in ({"a": np.zeros((0, 4)), "b": np.zeros((4, 0))}, {"a": np.zeros(4)}, {}):
        path = tmp_path / "odd.safetensors"
        save_file(weights, path)
        assert sparsecore("doctor", path).exit_code == 0
        json.loads(sparsecore("doctor", path, "--json").stdout)


def test_there_is_no_progress_where_there_is_no_terminal(file: Path) -> None:
    assert sparsecore("doctor", file).stderr == ""


def test_a_page_is_not_written_over_the_weights(tmp_path: Path) -> None:
    weights = {name: pruned(64, 64) for name in ("a.weight", "b.weight")}
    sc.save_checkpoint(tmp_path / "m.safetensors", weights, shard_bytes=20_000)
    shards = sorted(tmp_path.glob("m-*.safetensors"))
    assert len(shards) == 2
    before = [shard.read_bytes() for shard in shards]
    result = sparsecore("doctor", tmp_path, "--html", shards[1])
    assert result.exit_code == 2, result.output
    assert f"{shards[1]} would be written over" in result.stderr
    assert [shard.read_bytes() for shard in shards] == before
