"""cli/demo_tables.py: the table of models, as a terminal of 80 columns shows it."""

import dataclasses
import io
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("rich")

from rich.console import Console

from demo_cases import report, timing, variant
from sparsecore.cli.demo_measure import Curve
from sparsecore.cli.demo_results import Results, Stored
from sparsecore.cli.demo_tables import model_table


def table_lines(*variants: Any) -> list[str]:
    """Return the table of models as a terminal of 80 columns shows it."""
    curve = Curve("fc1", (4, 8), 64, (0.1,), (timing(1.0),), timing(2.0), timing(1.0))
    results = Results("digits", (8, 4), 9, 0, 1, "avx2", variants, curve)
    text = io.StringIO()
    Console(width=80, file=text).print(model_table(results))
    return text.getvalue().splitlines()


def row(lines: list[str], title: str) -> list[str]:
    (found,) = [line.split() for line in lines if line.startswith(f"{title} ")]
    return found


def test_only_exchanged_models_have_a_speed_up() -> None:
    dense = variant("dense", timing(2.0), {})
    stayed = variant("90%", timing(1.4), {64: report("dense")})
    exchanged = variant("2:4", timing(1.0), {64: report("csr")})
    lines = table_lines(dense, stayed, exchanged)
    assert row(lines, "90%")[-1] == "-"
    assert row(lines, "2:4")[-1] == "2.00x"
    note = "every layer stayed dense"
    assert note in " ".join(lines)
    assert note not in " ".join(table_lines(dense, exchanged))


def test_disturbed_rows_are_marked_and_explained_under_the_table() -> None:
    dense = variant("dense", timing(2.0), {})
    lines = table_lines(dense, variant("90%", timing(1.0, spread=3), {64: report("csr")}))
    assert row(lines, "90%")[-3:] == ["1", "s*", "2.00x"]
    assert row(lines, "dense")[-2] == "s"
    notes = [line for line in lines if line.startswith("* ")]
    assert len(notes) == 1
    assert notes[0].startswith("* 90%, batch 64: samples from 1 s to 3 s ")


def test_heads_and_numbers_are_whole_at_80_columns() -> None:
    latency = {1: timing(1.23e-4, spread=3), 64: timing(1.23e-3, spread=3)}
    stored = Stored(0.9876, 1_126_410, 4_505_640, 4_505_640)
    wide = dataclasses.replace(variant("dense", timing(1.0), {}), latency=latency, stored=stored)
    text = "\n".join(table_lines(wide))
    for words in ("accuracy", "on disk", "batch 64", "speed-up", "1,126,410", "1.23 ms*"):
        assert words in text
