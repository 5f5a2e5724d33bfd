"""cli/commands.py: the command itself, its help, and how it is started."""

import subprocess
import sys

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
