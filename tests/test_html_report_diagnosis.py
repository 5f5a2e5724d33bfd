"""html_report/diagnosis.py, diagnosis_part.py: a diagnosis as a page has it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import sparsecore as sc
from diagnosis_cases import costs, pruned
from report_cases import HOSTILE, Outline, diagnosis
from sparsecore.html_report import make_page, render


def test_the_summary_and_what_to_do() -> None:
    page = make_page(diagnosis())
    values = {fact.label: (fact.value, fact.note, fact.tone) for fact in page.facts}
    assert values["Verdict"] == ("zeros stored dense", "what holds back most of the model", "bad")
    assert values["Zeros"] == ("50.0 %", "of 12,288 weights", "")
    assert values["Bytes"] == ("49.2 kB", "18.4 kB with each in its smallest form", "")
    assert values["Could gain"] == ("75.0 %", "of the time; 4.00x were sparse work free", "good")
    assert page.sections[0].text == ("Two of three.", "one thing is not known")
    assert page.sections[0].table is not None
    rows = [[cell.text for cell in row] for row in page.sections[0].table.rows]
    assert rows == [["zeros stored dense", "75.0 %", "2"], ["no zeros", "25.0 %", "1"]]


def test_the_layers() -> None:
    table = make_page(diagnosis()).sections[-1].table
    assert table is not None
    titles = [column.title for column in table.columns]
    first, last = (dict(zip(titles, row, strict=True)) for row in (table.rows[0], table.rows[2]))
    assert first["Weight"].text == "fc1.weight"
    assert (first["Verdict"].text, first["Verdict"].tone) == ("zeros stored dense", "bad")
    assert (first["Why"].text, first["To do"].text) == ("it is zeros-stored-dense", "prune it")
    assert first["Also"].text == "who knows"
    # A measured time for 1 row, an estimate for 8; sorted by that for 8.
    assert first["Rows"].text == "1 / 8"
    assert first["Dense"].text == "2 ms / ~2 ms"
    assert (first["Sparse"].text, first["Sparse"].number) == ("1 ms csr / ~1 ms csr", 1e-3)
    assert first["Break-even"].text == "40.0 % / 40.0 %"
    assert [last[title].text for title in ("Rows", "Dense", "Sparse", "Break-even")] == ["-"] * 4
    assert last["Verdict"].tone == ""


def test_densities_beside_break_evens() -> None:
    """10 % and 50 % kept, where 40 % is the break-even: the first gains."""
    section = make_page(diagnosis()).sections[1]
    assert section.title == "How far from gaining"
    groups = section.figures[0].drawing.iter("g")
    words = [(group.find("title").text or "") for group in groups]  # type: ignore[union-attr]
    assert words == [
        "fc1.weight: breaks even at 40.0 % kept, for 8 rows",
        "fc1.weight: 10.0 % kept",
        f"{HOSTILE}: breaks even at 40.0 % kept, for 8 rows",
        f"{HOSTILE}: 50.0 % kept",
    ]
    labels = [text.text for text in section.figures[0].drawing.iter("text")]
    assert [label for label in labels if label in ("sparse", "dense")] == ["sparse", "dense"]


def test_the_page_is_well_formed_and_escaped() -> None:
    outline = Outline(render(make_page(diagnosis())))
    assert outline.open == []
    assert len(outline.of("script")) == 1
    assert HOSTILE in outline.text("th")


def test_a_diagnosis_of_nothing() -> None:
    empty = diagnosis() | {"layers": [], "notes": []}
    empty["summary"] |= {"weights": 0, "zeros": 0, "shares": {}}
    page = make_page(empty)
    assert [section.table for section in page.sections] == [None, None]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "source 0 is a diagnosis of schema 2, expected 1"),
        ({"layers": [{}]}, r"source 0: layers\[0\]: name is None, expected a text"),
        ({"summary": {}}, "source 0: summary: verdict: code is None, expected a text"),
        ({"notes": [1]}, "source 0: notes is 1, expected a text"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_page(diagnosis() | change)


def test_what_doctor_returns_is_read(tmp_path: Path) -> None:
    """Of a file with a layer of each kind that a file can have."""
    weights = {
        "sparse": pruned(64, 64),
        "full": pruned(64, 64, sparsity=0),
        "images": pruned(8, 8, 3, 3),
        "codes": pruned(64, 64, dtype=np.int32),
        "bias": np.zeros(64, np.float32),
    }
    save_file(weights, tmp_path / "model.safetensors")
    diagnosis = sc.doctor(tmp_path / "model.safetensors", costs=costs)
    page = make_page(diagnosis)
    table = page.sections[-1].table
    assert table is not None
    shown = {row[0].text: row[1].text.replace(" ", "-") for row in table.rows}
    assert shown == diagnosis.verdicts
    zeros = diagnosis.summary.zeros / diagnosis.summary.weights
    assert page.facts[1].value == f"{100 * zeros:.1f} %"
    assert Outline(render(page)).open == []
