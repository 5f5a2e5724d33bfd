"""diagnosis/grouping.py and text.py: equal verdicts are said once, and the model's comes first."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import save_file

import sparsecore as sc
from diagnosis_cases import costs, pruned
from sparsecore.cli.doctor_table import print_diagnosis
from sparsecore.diagnosis import Diagnosis
from sparsecore.diagnosis.grouping import groups, shared_suffix
from sparsecore.diagnosis.verdict import CODES


@pytest.fixture
def diagnosis(tmp_path: Path) -> Diagnosis:
    weights = {
        "model.layers.0.q_proj.weight": pruned(64, 64),
        "model.layers.1.q_proj.weight": pruned(128, 64),
        "model.layers.2.q_proj.weight": pruned(64, 64, seed=1),
        "head.a.weight": pruned(64, 64, sparsity=0.1, dtype=np.float16),
        "head.b.weight": pruned(64, 64, sparsity=0.2, dtype=np.float16),
        "full.weight": pruned(64, 64, sparsity=0.0),
    }
    save_file(weights, tmp_path / "model.safetensors")
    return sc.doctor(tmp_path / "model.safetensors", costs=costs)


def printed(diagnosis: Diagnosis, width: int) -> str:
    written = io.StringIO()
    print_diagnosis(Console(width=width, file=written), diagnosis)
    return written.getvalue()


def test_equal_verdicts_are_one_group(diagnosis: Diagnosis) -> None:
    stored, few = sorted(groups(diagnosis.layers), key=lambda group: CODES.index(group.code))
    assert (stored.code, few.code) == ("zeros-stored-dense", "below-break-even")
    names = [f"model.layers.{i}.q_proj" for i in range(3)]
    assert stored.title == f"3 weights: {', '.join(names)}"
    sentence = diagnosis["model.layers.1.q_proj.weight"].verdict.sentence
    assert stored.lines[0] == f"{names[1]}, the largest: {sentence}"
    assert sum(line.startswith("to do: ") for line in stored.lines) == 1


def test_where_numbers_matter_each_has_its_sentence(diagnosis: Diagnosis) -> None:
    (few,) = (group for group in groups(diagnosis.layers) if group.code == "below-break-even")
    for name in ("head.a", "head.b"):
        assert f"{name}: {diagnosis[f'{name}.weight'].verdict.sentence}" in few.lines


def test_other_advice_or_further_findings_are_another_group(diagnosis: Diagnosis) -> None:
    first = diagnosis["model.layers.0.q_proj.weight"]
    others = [layer for layer in diagnosis.layers if layer is not first]
    count = len(groups(diagnosis.layers))
    advised = replace(first, verdict=replace(first.verdict, advice="wait"))
    assert len(groups([advised, *others])) == count + 1
    assert len(groups([replace(first, further=(first.verdict,)), *others])) == count + 1


def test_what_all_names_end_in_is_said_once(diagnosis: Diagnosis) -> None:
    layers = diagnosis.layers
    assert shared_suffix(layers) == ".weight"
    assert shared_suffix(layers[:1]) == shared_suffix(()) == ""
    other = replace(layers[0], facts=replace(layers[0].facts, name="a.weight_orig"))
    assert shared_suffix([other, *layers]) == ""
    bare = replace(layers[0], facts=replace(layers[0].facts, name=".weight"))
    assert shared_suffix([bare, *layers]) == ""
    for text in (str(diagnosis), printed(diagnosis, 80)):
        assert text.count(".weight") == 1


@pytest.mark.parametrize("width", [80, 200])
def test_the_models_verdict_comes_before_the_table(diagnosis: Diagnosis, width: int) -> None:
    for text in (str(diagnosis), printed(diagnosis, width)):
        places = [text.index(words) for words in ("6 weights", "verdict: ", "shape", "3 weights:")]
        assert places == sorted(places)
        assert len(text[: places[1]].splitlines()) == 1


def test_names_break_at_their_dots(diagnosis: Diagnosis) -> None:
    layer = diagnosis["model.layers.0.q_proj.weight"]
    long = replace(layer.facts, name="model.language.layers.10.mlp.up_proj.weight")
    found = replace(diagnosis, layers=(replace(layer, facts=long),))
    lines = printed(found, 80).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("model.language"))
    assert [line.split()[0] for line in lines[start : start + 2]] == [
        "model.language.layers.",
        "10.mlp.up_proj.weight",
    ]


def test_columns_without_numbers_are_left_out(tmp_path: Path) -> None:
    save_file({"image.weight": pruned(8, 8, 3, 3)}, tmp_path / "image.safetensors")
    found = sc.doctor(tmp_path / "image.safetensors", costs=costs)
    head = next(line for line in str(found).splitlines() if line.startswith("weight "))
    assert "bytes" in head
    assert not {"rows", "dense", "sparse"} & set(head.split())


def test_the_bound_follows_the_times(diagnosis: Diagnosis) -> None:
    summary = replace(diagnosis.summary, basis="seconds", bound=86.99, expected=2.07)
    text = " ".join(str(replace(diagnosis, summary=summary)).split())
    assert "; 2.07x by their times; 86.99x were sparse work free" in text
