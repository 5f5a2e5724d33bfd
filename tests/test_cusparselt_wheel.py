"""NVIDIA's own library, as far as it goes without a device: which version, and no driver."""

import importlib.metadata

import pytest

import child
import sparsecore as sc
from sparsecore import _core

CODE = """
import sys
import torch
from sparsecore import interop
from sparsecore.cuda import cusparselt
interop.on_device = interop.is_tensor  # as in tests of an emulated device
try:
    cusparselt.compress(torch.zeros(32, 64, dtype=torch.float16))
except RuntimeError as error:
    print(error)
"""


@pytest.fixture
def version():
    """Return the version of the library in the wheel, or skip."""
    if not hasattr(_core, "DeviceCusparseLt"):
        pytest.skip("this build has no CUDA side")
    for name in ("nvidia-cusparselt-cu13", "nvidia-cusparselt-cu12"):
        try:
            return ".".join(importlib.metadata.version(name).split(".")[:3])  # without .post1
        except importlib.metadata.PackageNotFoundError:
            continue
    pytest.skip("NVIDIA's wheel nvidia-cusparselt-cu13 is not installed")


@pytest.mark.gpu
def test_its_version_is_read(version):
    printed = child.output(
        "import sparsecore as sc; print(sc.cuda.libraries()['cusparselt'])",
        SPARSECORE_CUSPARSELT="",
    )
    if tuple(map(int, version.split("."))) < (0, 8, 1):
        assert f"it is version {version}, expected 0.8.1" in printed
    else:
        assert f"found=True, version='{version}', reason=''" in printed


@pytest.mark.gpu
def test_without_a_driver_it_says_so(version):
    pytest.importorskip("torch", reason="torch is not installed")
    if not _core.cuda_is_emulated:
        pytest.skip("with a device, or none to copy a matrix to, this comes to nothing")
    if not sc.cuda.libraries()["cusparselt"].found:
        pytest.skip(f"version {version} is too old")
    printed = child.output(CODE, SPARSECORE_CUSPARSELT="", CUDA_VISIBLE_DEVICES="")
    assert printed.startswith(f"cuSPARSELt {version}: cusparseLtInit returned status 1: not init")
