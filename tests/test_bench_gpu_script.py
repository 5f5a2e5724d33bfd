"""bench/gpu.sh on machines that lack something: each part says so, and the others run."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_BENCH = Path(__file__).parent.parent / "bench"
_STUB = """#!/bin/sh
case "$*" in
*"-m pip"*) echo installed; exit {pip} ;;
*"-m pytest"*) echo "7 passed"; exit {tests} ;;
*"-m sparsecore.bench"*) echo measured; exit 0 ;;
*"import sparsecore") exit {pip} ;;
-) cat > /dev/null; echo "{device}" ;;
*) exec {python} "$@" ;;
esac
"""

pytestmark = pytest.mark.skipif(
    shutil.which("bash") is None, reason="bench/gpu.sh is bash's, which is not installed"
)


@pytest.fixture
def run(tmp_path):
    """Return what runs the script with a Python whose answers are given."""

    def run(*tools, pip=0, tests=0, device=""):
        (tmp_path / "bench").mkdir()
        for name in ("gpu.sh", "gpu_summary.py"):
            shutil.copy(_BENCH / name, tmp_path / "bench" / name)
        found = tmp_path / "bin"
        found.mkdir()
        stub = _STUB.format(pip=pip, tests=tests, device=device, python=sys.executable)
        for name, text in (("python", stub), *((tool, "#!/bin/sh\nexit 0\n") for tool in tools)):
            (found / name).write_text(text, encoding="utf-8")
            (found / name).chmod(0o755)
        environment = {
            "PATH": f"{found}:/usr/bin:/bin",
            "PYTHON": str(found / "python"),
            "CUDA_HOME": str(tmp_path / "cuda"),
            "SPARSECORE_DATA": str(tmp_path),
        }
        done = subprocess.run(
            ["bash", "bench/gpu.sh", "results"],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        document = json.loads((tmp_path / "results" / "gpu-run.json").read_text())
        return done, {part["name"]: part for part in document["parts"]}

    return run


def test_everything_that_is_absent_is_reported(run):
    done, parts = run(device="no CUDA device was found: no error")
    assert done.returncode == 0, done.stderr
    reasons = {name: part["reason"] for name, part in parts.items()}
    assert reasons == {
        "build": "nvcc is neither on PATH nor in CUDA_HOME",
        "GPU tests": "no CUDA device was found: no error",
        "sanitizers": "no CUDA device was found: no error",
        "row reads": "nvcc is neither on PATH nor in CUDA_HOME",
        "GPU benchmarks": "no CUDA device was found: no error",
        "GPU benchmarks, 2:4": "no CUDA device was found: no error",
        "GPU benchmarks, DLMC": "no CUDA device was found: no error",
        "CPU tests": None,
        "CPU benchmarks": None,
    }
    assert parts["CPU tests"]["last_line"] == "7 passed"
    assert {part["state"] for part in parts.values()} == {"absent", "passed"}


def test_one_tool_less_leaves_the_other_parts(run):
    done, parts = run("nvcc", "nvidia-smi")
    assert done.returncode == 1  # this nvcc makes no program
    states = {name: part["state"] for name, part in parts.items()}
    assert states == {
        "build": "passed",
        "GPU tests": "passed",
        "sanitizers": "absent",
        "row reads": "failed",
        "GPU benchmarks": "passed",
        "GPU benchmarks, 2:4": "passed",
        "GPU benchmarks, DLMC": "absent",
        "CPU tests": "passed",
        "CPU benchmarks": "passed",
    }
    assert "compute-sanitizer" in parts["sanitizers"]["reason"]
    assert "dlmc_dev.tar.xz" in parts["GPU benchmarks, DLMC"]["reason"]


def test_failures_are_counted_at_the_end(run):
    done, parts = run("nvcc", "compute-sanitizer", pip=1, tests=2, device="ImportError: sparsecore")
    assert done.returncode == 1
    assert done.stdout.endswith("failed: build\n")
    assert parts["build"]["reason"] == "exit status 1"
    assert parts["GPU tests"]["reason"] == "ImportError: sparsecore"
    assert parts["CPU tests"]["reason"] == "sparsecore was not installed"
