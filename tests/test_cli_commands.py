"""cli/commands.py: the command itself, its help, and how it is started."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sparsecore as sc
from demo_cases import sparsecore
from sparsecore import cli


def test_version() -> None:
    result = sparsecore("--version")
    assert (result.exit_code, result.output.split()[-1]) == (0, sc.__version__)


@pytest.mark.parametrize("arguments", [("--help",), ("demo", "--help")])
def test_help_has_examples(arguments: tuple[str, ...]) -> None:
    result = sparsecore(*arguments)
    assert result.exit_code == 0
    assert "Examples:\n" in result.output
    assert "  sparsecore demo\n" in result.output or "  sparsecore demo  " in result.output


def test_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "sparsecore", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"sparsecore {sc.__version__}\n"


def test_names_the_extra_where_click_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("sparsecore.cli.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "click", None)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert "needs click" in str(stop.value)
    assert "pip install 'sparsecore[demo]'" in str(stop.value)


_HOSTILE = "\x1b[31mred\r.weight"


@pytest.mark.parametrize(
    "command",
    [("convert", "out.safetensors"), ("prune", "out.safetensors", "--sparsity", "0.5")],
)
def test_names_of_a_file_steer_no_terminal(tmp_path: Path, command: tuple[str, ...]) -> None:
    """In tables, in lines below them and in messages they are written out."""
    source, (name, out, *options) = tmp_path / "in.safetensors", command
    weights = {_HOSTILE: np.eye(64), "a\nb": np.ones((2, 2, 2)), "c\x1b[0m": np.ones(3)}
    for content in (weights, {_HOSTILE: np.array([[np.nan]])}):
        sc.save_checkpoint(source, content)
        result = sparsecore(name, source, tmp_path / out, *options)
        assert "\x1b" not in result.output + result.stderr
        assert "\r" not in result.output + result.stderr
        if name == "prune" or content is weights:
            assert "\\x1b[31mred\\r.weight" in result.output + result.stderr
    assert name != "prune" or "has NaN" in result.stderr
