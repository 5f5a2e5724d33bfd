"""Every document's Python blocks run, each on its own, every relative link leads somewhere.

And the reference has every public name.
"""

import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

import sparsecore as sc

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("bench/**/*.md")),
]
FENCED = re.compile(r"^```(?P<language>\w*)[^\n]*\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#+ +(?P<title>.+)$", re.MULTILINE)


def python_blocks() -> Iterator[object]:
    """Yield one parameter a block: its document, its first line's number and its code."""
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        for block in FENCED.finditer(text):
            if block["language"] == "python":
                line = text.count("\n", 0, block.start("body")) + 1
                name = f"{path.relative_to(ROOT)}:{line}"
                yield pytest.param(path, line, block["body"], id=name)


@pytest.mark.parametrize(("path", "line", "code"), list(python_blocks()))
def test_python_block_runs(
    path: Path, line: int, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "import torch" in code and find_spec("torch") is None:
        pytest.skip("torch is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    exec(compile("\n" * (line - 1) + code, str(path), "exec"), {"__name__": "__main__"})
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


def anchors(text: str) -> set[str]:
    """Return the fragment of each heading: lower case, dashes for spaces, no punctuation."""
    titles = (heading["title"].lower() for heading in HEADING.finditer(FENCED.sub("", text)))
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_resolve(path: Path) -> None:
    prose = FENCED.sub("", path.read_text(encoding="utf-8"))
    broken = []
    for link in LINK.finditer(prose):
        place, _, fragment = link["target"].partition("#")
        if "://" in place or place.startswith("mailto:"):
            continue
        goal = path.parent / place if place else path
        is_whole = goal.exists() and (
            not fragment or fragment in anchors(goal.read_text(encoding="utf-8"))
        )
        if not is_whole:
            broken.append(link["target"])
    assert broken == []


def documented() -> set[str]:
    """Return what the reference documents: modules by name, of `sc` the rest as `sc.name`."""
    pages = "\n".join(path.read_text("utf-8") for path in sorted(ROOT.glob("docs/reference/*.md")))
    directives = re.findall(r"^\.\. auto(\w+):: ([\w.]+)$", pages, re.MULTILINE)
    return {name if kind == "module" or "." in name else f"sc.{name}" for kind, name in directives}


def test_the_reference_has_every_public_name() -> None:
    public = set(sc.__all__) - {"__version__"}
    modules = {name for name in public if find_spec(f"sparsecore.{name}") is not None}
    inner = ("pruning.allocation", "pruning.flops", "pruning.scores", "pruning.structured")
    expected = {f"sparsecore.{name}" for name in (*modules, *inner)}
    expected |= {f"sc.{name}" for name in public - modules}
    assert expected - documented() == set()
