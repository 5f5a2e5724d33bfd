"""Shared fixtures: the CPU targets, the optional data, and how hypothesis runs."""

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import settings

import cusparselt_cases
import device_cases
import sparsecore as sc
from ranks import Ranks
from sparsecore import _core

# How long one example takes says nothing about it on a shared machine.
settings.register_profile("sparsecore", deadline=None)
settings.load_profile("sparsecore")

_ROOT = Path(__file__).resolve().parent.parent


def targets_to_run() -> list[str]:
    """Return every CPU target that runs here, or the one that SPARSECORE_TARGET names."""
    return [sc.cpu.target()] if os.environ.get("SPARSECORE_TARGET") else sc.cpu.targets()


@pytest.fixture(params=targets_to_run())
def target(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test once on each CPU target, then go back to the one that was active."""
    before = sc.cpu.target()
    sc.cpu.set_target(request.param)
    yield request.param
    sc.cpu.set_target(before)


@pytest.fixture(params=[True, False], ids=["amd", "other"])
def tuned_as_amd(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Run the test with what suits AMD's processors, then with what suits others'."""
    _core.tune_as_amd(request.param)
    yield request.param
    _core.tune_as_amd(None)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the torch.device that tests marked `gpu` make their tensors on, or skip."""
    return device_cases.device(monkeypatch)


@pytest.fixture
def cusparselt(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:  # noqa: ARG001
    """Return the module of that name with a library that it can open, or skip."""
    yield from cusparselt_cases.opened(monkeypatch)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Return the folder of the external data, or skip: it is not part of the repository."""
    path = Path(os.environ.get("SPARSECORE_DATA", _ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"external data not found: {path} (set SPARSECORE_DATA)")
    return path


@pytest.fixture(scope="session")
def dlmc_patterns(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Unpack the ten smallest patterns of DLMC: pruned ResNet-50 and transformer layers."""
    source = data_dir / "dlmc_dev.tar.xz"
    if not source.is_file():
        pytest.skip(f"no DLMC patterns: {source} is absent")
    folder = tmp_path_factory.mktemp("dlmc")
    with tarfile.open(source) as archive:
        patterns = [member for member in archive if member.name.endswith(".smtx")]
        smallest = sorted(patterns, key=lambda member: (member.size, member.name))[:10]
        for member in smallest:
            archive.extract(member, folder, filter="data")
    return [folder / member.name for member in smallest]


@pytest.fixture(scope="session")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    """Start four processes, the ranks of a gloo process group, for all tests that need some."""
    processes = Ranks(4, tmp_path_factory.mktemp("ranks"))
    yield processes
    processes.close()


# Subjects that call kernels only as any caller does: one CPU target shows what they have to.
_ANY_TARGET = (
    "analysis",
    "bench",
    "calls",
    "checkpoint",
    "cli",
    "compressed_tensors",
    "cuda",
    "cusparselt",
    "device",
    "diagnosis",
    "distributed",
    "docs",
    "export",
    "fork",
    "html_report",
    "house",
    "interop",
    "interrupt",
    "io",
    "nn",
    "pruning",
    "python_threads",
    "sparse_training",
    "timing",
    "torch_compile",
    "torch_export",
    "torch_library",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that `make test` runs all but one of the CPU targets with."""
    parser.addoption(
        "--target-dependent",
        action="store_true",
        help="leave out the subjects that one CPU target suffices for",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect by the names of files, where --target-dependent asks for it."""
    if not config.getoption("--target-dependent"):
        return
    prefixes = tuple(f"test_{subject}" for subject in _ANY_TARGET)
    left_out = [item for item in items if item.path.name.startswith(prefixes)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not item.path.name.startswith(prefixes)]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say which CPU targets the tests did not run on: a target is never left out in silence."""
    run = targets_to_run()
    left_out = [name for name in sc.cpu.compiled_targets() if name not in run]
    line = f"CPU targets run: {', '.join(run)}"
    for name in left_out:
        can_run = name in sc.cpu.targets()
        reason = "SPARSECORE_TARGET names another" if can_run else "this processor lacks it"
        line += f"; {name} NOT run ({reason})"
    terminalreporter.write_line(line)
