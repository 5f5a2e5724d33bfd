"""cli/bench.py, bench/file_weights/: a file's weights measured; suites handed on."""

import subprocess
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import sparsecore as sc
from demo_cases import sparsecore
from oracle import Array
from sparsecore.bench.arguments import parse
from sparsecore.bench.file_weights.run import markdown, measure, weight_matrix
from sparsecore.weight_files import Entry, Use


def pruned(*shape: int, dtype: Any = np.float32) -> Array:
    W = np.random.default_rng(0).normal(size=shape).astype(dtype)
    W.reshape(-1)[::3] = 0
    return W


def measured(path: Path, *words: str) -> dict[str, Any]:
    quick = ["--min-runs", "1", "--min-seconds", "0"]
    return measure(parse(["file", str(path), *quick, *words]), pinned=False)


def test_each_weight_dense_and_sparse(tmp_path: Path) -> None:
    two = pruned(8, 16)
    two[~sc.prune_24(two)] = 0
    weights = {
        "two.weight": two,
        "conv.weight": pruned(6, 4, 3, 3),
        "half.weight": pruned(4, 8, dtype=ml_dtypes.bfloat16),
        "bias": pruned(8),
        "count": np.ones((3, 3), np.int64),
    }
    sc.save_checkpoint(tmp_path / "m.safetensors", weights)
    document = measured(tmp_path / "m.safetensors", "--batches", "1", "3")
    rows = {(row["layer"], row["N"]): row for row in document["rows"]}
    assert rows.keys() == {
        (n, k) for n in ("two.weight", "conv.weight", "half.weight") for k in (1, 3)
    }
    conv = rows["conv.weight", 3]
    assert (conv["M"], conv["K"], conv["nnz"]) == (6, 36, 144)
    assert "2:4" in rows["two.weight", 1]["contenders"]
    for (name, _), row in rows.items():
        assert row["contenders"][row["dense_baseline"]]["role"] == "baseline"
        assert ("2:4" in row["contenders"]) == (name == "two.weight")
        assert all(found["excess"] <= 1 for found in row["contenders"].values())
    text = markdown(document)
    assert "| conv.weight | 6 x 36 | 33.3 % | 3 |" in text
    assert "measured as one matrix product" in text
    only = measured(tmp_path / "m.safetensors", "--batches", "2", "--layers", "^half")
    assert [row["layer"] for row in only["rows"]] == ["half.weight"]
    assert "matrix product" not in markdown(only)


@pytest.mark.parametrize(
    ("shape", "use", "expected"),
    [
        ((2, 3), None, (2, 3)),
        ((2, 3), Use("Gemm", 1), (2, 3)),
        ((2, 3), Use("MatMul", 0), (3, 2)),
        ((4, 2, 3, 3), Use("Conv", 1), (4, 18)),
        ((4, 2, 3, 3), Use("ConvTranspose", 0), (18, 4)),
    ],
)
def test_rows_of_the_matrix_are_outputs(
    shape: tuple[int, ...], use: Use | None, expected: tuple[int, int]
) -> None:
    W = pruned(*shape)
    matrix = weight_matrix(W, Entry("w", shape, "float32", W.nbytes, "dense", use))
    assert matrix.shape == expected
    sums = W.reshape(W.shape[0], -1)
    np.testing.assert_array_equal(matrix, sums if expected[0] == shape[0] else sums.T)


def test_no_weight_is_a_fault(tmp_path: Path) -> None:
    sc.save_checkpoint(tmp_path / "m.safetensors", {"w": pruned(2, 2)})
    with pytest.raises(ValueError, match="no weight of two or four axes"):
        measured(tmp_path / "m.safetensors", "--layers", "nothing")
    with pytest.raises(ValueError, match="no regular expression"):
        measured(tmp_path / "m.safetensors", "--layers", "(")


def test_words_are_handed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.touch()
    seen: list[list[str]] = []

    def noted(words: list[str], **_: Any) -> "subprocess.CompletedProcess[str]":
        seen.append(words[3:])
        return subprocess.CompletedProcess(words, 3)

    monkeypatch.setattr(subprocess, "run", noted)
    assert sparsecore("bench", "--from", path, "--batch", "2,8", "--layers", "a").exit_code == 3
    sparsecore("bench", "spmm", "--quick", "--threads", 2)
    sparsecore("bench")
    files = ["file", "--batches", "2", "8", "--threads", "1", "--layers=a", "--", str(path)]
    assert seen == [files, ["spmm", "--quick", "--threads", "2"], ["--help"]]
    assert (parse(files).batches, parse(files).weights) == ([2, 8], path)
    for words in (("--from", path, "spmm"), ("--from", path, "--batch", "0")):
        assert sparsecore("bench", *words).exit_code == 2
    assert len(seen) == 3


def test_a_file_that_is_none_ends_with_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.safetensors").write_bytes(b"\0" * 20)
    assert sparsecore("bench", "--from", tmp_path / "m.safetensors").exit_code == 2
    error = capfd.readouterr().err
    assert error.startswith("Error: ")
    assert "not a whole safetensors file" in error
    assert error.count("\n") == 1
