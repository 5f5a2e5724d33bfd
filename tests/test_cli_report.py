"""cli/report.py: a page from files, and what is said where there is none."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

import sparsecore as sc
from demo_cases import sparsecore
from report_cases import ACCURACY, conversion, diagnosis, latency


def written(folder: Path) -> list[Path]:
    """Write a report, a diagnosis, latencies and accuracies; return the files."""
    contents = {"report": conversion(), "diagnosis": diagnosis()}
    contents |= {"latency": latency(), "accuracy": {"accuracy": ACCURACY}}
    paths = [folder / f"{name}.json" for name in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        path.write_text(json.dumps(content), encoding="utf-8")
    return paths


def test_a_page_of_everything(tmp_path: Path) -> None:
    weights = {"fc9.weight": sc.CSR.from_dense(np.eye(64, dtype=np.float32)), "b": np.ones(3)}
    sc.save_checkpoint(tmp_path / "model.safetensors", weights)
    page = tmp_path / "page.html"
    options = ("-o", page, "--weights", tmp_path / "model.safetensors", "--title", "A <network>")
    result = sparsecore("report", *written(tmp_path), *options, "--layers", "fc*")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.output == f"{page}: {page.stat().st_size:,} bytes\n"
    text = page.read_text(encoding="utf-8")
    for title in ("Diagnosis", "Where sparsity pays", "Layers", "Break-even", "Accuracy"):
        assert f">{title}</h2>" in text
    assert "<h1>A &lt;network&gt;</h1>" in text
    assert text.count("data:image/png;base64,") == 1


def test_it_needs_no_optional_package_but_click(tmp_path: Path) -> None:
    code = """
import sys
from sparsecore.cli.commands import commands
for name in ("torch", "matplotlib", "scipy", "onnx"):
    sys.modules[name] = None
commands(sys.argv[1:])
"""
    page = tmp_path / "page.html"
    arguments = [*written(tmp_path), "-o", page]
    subprocess.run([sys.executable, "-W", "error", "-c", code, "report", *arguments], check=True)
    assert page.is_file()


def test_what_cannot_be_read_is_said_in_one_line(tmp_path: Path) -> None:
    page, bad = tmp_path / "page.html", tmp_path / "bad.json"
    bad.write_text("{", encoding="utf-8")
    report, *_ = written(tmp_path)
    for arguments, message in (
        ((bad,), f"{bad} is not JSON"),
        ((tmp_path / "missing.json",), "No such file"),
        ((report, report), f"{report} is the second report of a conversion"),
        ((report, "--weights", tmp_path / "missing.npz"), "missing.npz"),
        ((report, "--weights", report), "report.json"),
        ((report, "--layers", "fc"), "'fc' fits no layer that can be drawn"),
    ):
        result = sparsecore("report", *arguments, "-o", page)
        assert result.exit_code == 2, result.output
        assert message in result.stderr
        assert result.stderr.count("\n") == 1
        assert not page.exists()


def test_nothing_to_show_is_bad_usage(tmp_path: Path) -> None:
    result = sparsecore("report", "-o", tmp_path / "page.html")
    assert result.exit_code == 2
    assert "there is nothing to show" in result.stderr


def test_no_file_that_is_read_is_written_over(tmp_path: Path) -> None:
    report, *_ = written(tmp_path)
    weights = {name: np.eye(64) for name in ("a.weight", "b.weight")}
    sc.save_checkpoint(tmp_path / "m.safetensors", weights, shard_bytes=40_000)
    index = tmp_path / "m.safetensors.index.json"
    shard = tmp_path / "m-00001-of-00002.safetensors"
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for output in (report, index, shard):
        result = sparsecore("report", report, "--weights", index, "-o", output)
        assert result.exit_code == 2, result.output
        assert f"{output} would be written over" in result.stderr
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    report, *_ = written(tmp_path)
    result = sparsecore("report", report, "-o", tmp_path / "none" / "page.html")
    assert result.exit_code == 2
    assert f"the folder of {tmp_path / 'none' / 'page.html'} does not exist" in result.stderr


def test_weights_of_no_entries_are_not_drawn(tmp_path: Path) -> None:
    """Whatever shape they claim: it costs a file nothing."""
    weights = {"a.weight": np.zeros((1 << 40, 0)), "b.weight": np.zeros((3, 0, 3))}
    path, page = tmp_path / "m.safetensors", tmp_path / "page.html"
    for more, pictures in (({}, 0), ({"c.weight": np.eye(8)}, 1)):
        sc.save_checkpoint(path, weights | more)
        result = sparsecore("report", "--weights", path, "-o", page)
        assert result.exit_code == 0, result.output
        assert page.read_text(encoding="utf-8").count("data:image/png;base64,") == pictures
    result = sparsecore("report", "--weights", path, "--layers", "a", "-o", page)
    assert result.exit_code == 2
    assert "'a' fits no layer that can be drawn" in result.stderr
