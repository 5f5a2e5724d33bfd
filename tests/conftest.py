"""Shared fixtures: the CPU targets, the optional data, and how hypothesis runs."""

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

import sparsecore as sc
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


@pytest.fixture(params=[False, True], ids=["instruction", "single loads"])
def gathers(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run the test once for each way to gather, of which a processor has one."""
    _core.set_gathers(request.param)
    yield
    _core.set_gathers(None)


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
