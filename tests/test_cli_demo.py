"""cli/demo.py: the options of ``sparsecore demo``, and what stops it before it begins."""

import sys
from pathlib import Path

import pytest

import child
from demo_cases import sparsecore


def test_help_and_readme_name_the_same_time() -> None:
    readme = Path(__file__).resolve().parent.parent / "README.md"
    assert "about a minute" in " ".join(sparsecore("demo", "--help").output.split())
    assert "about a minute" in readme.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("package", "installed_as"),
    [
        ("torch", "torch"),
        ("rich", "rich"),
        ("matplotlib", "matplotlib"),
        ("sklearn", "scikit-learn"),
    ],
)
def test_names_the_extra_where_a_package_of_the_demo_is_missing(
    package: str, installed_as: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    result = sparsecore("demo")
    assert result.exit_code == 1
    assert installed_as in result.output
    assert "pip install 'sparsecore[demo]'" in result.output


@pytest.mark.parametrize("arguments", [("--data", "mnist"), ("--data-dir", ".")])
def test_mnist_and_its_folder_go_together(arguments: tuple[str, ...]) -> None:
    result = sparsecore("demo", *arguments)
    assert result.exit_code == 2
    assert "--data mnist and --data-dir DIR go together" in result.output


def test_demo_stops_at_a_missing_file(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    result = sparsecore("demo", "--data", "mnist", "--data-dir", tmp_path, "--output", tmp_path)
    assert result.exit_code == 1
    path = tmp_path / "train-images-idx3-ubyte.gz"
    assert f"{path} cannot be read: No such file or directory" in result.output


def test_a_bad_target_ends_the_demo_at_the_start() -> None:
    done = child.run(
        "from sparsecore import cli; import sys; sys.argv = ['sparsecore', 'demo']; cli.main()",
        SPARSECORE_TARGET="sse9",
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: SPARSECORE_TARGET: 'sse9' cannot run here")
