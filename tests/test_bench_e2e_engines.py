"""The dense engines: those that are here compute the same, those that are not say why."""

import importlib.metadata
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from e2e_cases import TINY
from sparsecore.bench.comparison import Absent
from sparsecore.bench.e2e import engines
from sparsecore.bench.e2e.arguments import ENGINES
from sparsecore.bench.e2e.engines import (
    Engine,
    Workload,
    find_engines,
    torch_engines,
    versions,
)
from sparsecore.bench.e2e.variants import relative_error
from sparsecore.bench.models.weights import calibrate_, seeded

# Compiling takes longer than all other tests of this file.
QUICK = [name for name in ENGINES if name != "torch inductor"]


def workload() -> Workload:
    generator = torch.Generator().manual_seed(0)
    model = seeded(TINY.build, generator)
    calibrate_(model, TINY.inputs(16, generator))
    samples = tuple(TINY.inputs(3, generator) for _ in range(2))
    return Workload(model, samples[0], samples, threads=1)


@pytest.mark.parametrize("name", QUICK)
def test_an_engine_computes_what_torch_computes(name: str) -> None:
    present, absent = find_engines(ENGINES)
    if name in absent:
        pytest.skip(f"{name}: {absent[name]}")
    given = workload()
    found = torch.as_tensor(present[name].run(given)())
    # uint8 activations have 256 steps; errors of five layers add up.
    tolerance = 1e-5 if present[name].precision == "float32" else 5 * 2 / 256
    assert relative_error(found, given.model(*given.inputs)) <= tolerance


def test_every_engine_has_a_name_that_can_be_asked_for() -> None:
    present, absent = find_engines(ENGINES)
    assert {*present, *absent} == set(ENGINES)


def test_an_engine_that_is_not_installed_or_not_asked_for_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def version(package: str) -> str:
        if package == "openvino":
            raise importlib.metadata.PackageNotFoundError(package)
        return "1.0"

    monkeypatch.setattr(engines, "version", version)
    present, absent = find_engines(["onnxruntime", "openvino", "openvino int8"])
    assert list(present) == ["torch eager", "onnxruntime"]
    assert absent["openvino"] == absent["openvino int8"] == "not installed: openvino"
    assert absent["torch inductor"] == "not asked for"
    assert versions(present["onnxruntime"]) == {"torch": "1.0", "onnx": "1.0", "onnxruntime": "1.0"}


def test_an_engine_without_a_way_for_a_network_says_so_and_names_no_path() -> None:
    line = Workload(torch.nn.Linear(3, 2), (torch.ones(1, 3),), (), threads=1)
    with pytest.raises(Absent, match="no convolutions"):
        Engine(torch_engines.channels_last).run(line)

    def fail(_: Workload) -> Any:
        msg = "/home/somebody/cache is full"
        raise RuntimeError(msg)

    with pytest.raises(Absent, match=r"^cannot run it: RuntimeError$"):
        Engine(fail).run(line)
