"""The scripts of the pruning tables, in their quick form on digits."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

FOLDER = Path(__file__).resolve().parent.parent / "bench" / "pruning"
# The rest of the files there is what the scripts share.
SCRIPTS = [
    path for path in sorted(FOLDER.glob("*.py")) if "def main(" in path.read_text(encoding="utf-8")
]


def run(script: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"SPARSECORE_DATA": "/nowhere", "PYTHONWARNINGS": "error"}
    return subprocess.run(
        [sys.executable, script, "--quick", "--seeds", "1", *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_table_a_plot_and_every_run(script: Path, tmp_path: Path) -> None:
    output = tmp_path / "found.json"
    done = run(script, "--output", str(output))
    assert done.returncode == 0, done.stderr
    document = json.loads(output.read_text(encoding="utf-8"))
    cells = [json.dumps(entry["cell"]) for entry in document["runs"]]
    assert len(set(cells)) == len(cells) > 0
    table = output.with_suffix(".md").read_text(encoding="utf-8")
    assert document["title"] in table
    assert output.with_suffix(".png").stat().st_size > 5_000
    assert str(Path.home()) not in output.read_text(encoding="utf-8") + table


def test_a_stopped_run_goes_on_and_another_configuration_is_refused(tmp_path: Path) -> None:
    script, output = FOLDER / "snip.py", tmp_path / "found.json"
    assert run(script, "--output", str(output)).returncode == 0
    document = json.loads(output.read_text(encoding="utf-8"))
    first, second = document["runs"][:2]
    first["result"]["error"] = 12.5
    output.write_text(json.dumps(document | {"runs": [first]}), encoding="utf-8")
    done = run(script, "--output", str(output))
    again = json.loads(output.read_text(encoding="utf-8"))
    assert again["runs"][:2] == [first, second]
    assert json.dumps(first) not in done.stdout  # it was not run anew
    changed = again | {"recipe": again["recipe"] | {"batch": 1}}
    output.write_text(json.dumps(changed), encoding="utf-8")
    refused = run(script, "--output", str(output))
    assert refused.returncode != 0
    assert "holds runs of another configuration" in refused.stderr
