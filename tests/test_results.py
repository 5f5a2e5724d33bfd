"""Each table in bench/results is what the package makes of the JSON beside it."""

import importlib
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

import pytest

from claims.documents import ROOT
from claims.results import result
from claims.scripts import script
from sparsecore.bench import report, table
from sparsecore.bench.e2e import table as e2e
from sparsecore.bench.never_slower import table as never_slower
from sparsecore.bench.trained import allocate_table
from sparsecore.bench.trained import table as trained

FOLDER = ROOT / "bench" / "results"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
COMPARISONS = [name for name in NAMES if "break_even" in result(name)]
# By the name in the JSON; what is not here is a comparison of products.
TABLES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "e2e": e2e.markdown,
    "never-slower": never_slower.markdown,
    "trained": trained.markdown,
    "allocate": allocate_table.markdown,
}
# Those whose modules import torch.
TORCH_TABLES = {
    "training": ("sparsecore.bench.sparse_training.run", "markdown"),
    "gpu": ("sparsecore.bench.gpu.run", "_markdown"),
    "gpu-24": ("sparsecore.bench.gpu.run", "_markdown"),
}
# Scripts of bench/pruning, and the function that makes the table.
SCRIPTS = {
    "pruning-snip": ("runs", "error_table"),
    "pruning-controls": ("runs", "error_table"),
    "pruning-dynamic": ("dynamic", "table"),
    "pruning-lottery": ("lottery", "table"),
    "pruning-resnet20": ("resnet20", "table"),
    "pruning-collapse": ("collapse", "table"),
}

RANKS = "distributed-epyc-2-cores"


def written(name: str) -> str:
    return (FOLDER / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [name for name in NAMES if "protocol" in result(name)])
def test_table_is_what_the_package_makes(name: str) -> None:
    kind = result(name)["name"]
    if kind in TORCH_TABLES:
        pytest.importorskip("torch")
        module, function = TORCH_TABLES[kind]
        make = getattr(importlib.import_module(module), function)
    else:
        make = TABLES.get(kind, table.markdown)
    assert make(result(name)) == written(name)


@pytest.mark.parametrize("name", COMPARISONS)
def test_summaries_follow_from_the_times(name: str) -> None:
    document = result(name)
    for row in document["rows"]:
        times = {who: found["median"] for who, found in row["contenders"].items()}
        first, *others = times
        assert row["ratio"] == {who: times[who] / times[first] for who in others}
        for ours, rivals in row["best"].items():
            for rival in rivals.values():
                assert rival["ratio"] == times[rival["contender"]] / times[ours]
    assert document["summary"] == report.summary(document["rows"])
    assert document["best"] == report.against_best(document["rows"])
    assert document["break_even"] == report.break_even(document["rows"])


@pytest.mark.skipif(find_spec("torch") is None, reason="the scripts import torch")
@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_table_is_what_the_script_makes(name: str) -> None:
    module, function = SCRIPTS[name]
    make = getattr(script("pruning", module), function)
    assert make(result(name)) in written(name)


@pytest.mark.skipif(find_spec("torch") is None, reason="the script imports torch")
def test_table_of_ranks_is_what_the_script_makes() -> None:
    scaling = script("distributed", "scaling")
    assert scaling.report(result(RANKS), scaling.FULL) == written(RANKS)


def test_every_result_is_looked_at() -> None:
    looked_at = {name for name in NAMES if "protocol" in result(name)}
    unknown = set(NAMES) - looked_at - {*SCRIPTS, RANKS}
    assert unknown == set(), "no test makes the tables of these"
