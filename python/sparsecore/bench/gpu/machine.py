"""The facts of a device that a measurement is read against."""

import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

import torch

from sparsecore.bench.comparison import Absent
from sparsecore.bench.gpu import cusparse
from sparsecore.timing import Timer

__all__ = ["device_facts", "measure_device_floor"]

_COPIED = 1 << 30  # bytes, read and written
_SIDE = 8192
_ASKED = ("driver_version", "clocks.sm", "clocks.mem", "clocks.max.sm", "power.limit", "pstate")


def device_facts() -> dict[str, Any]:
    """Say which device it is, what runs it, and at which clocks it stands: ready for JSON."""
    properties = torch.cuda.get_device_properties(0)
    try:
        sparse = cusparse.version()
    except Absent as reason:
        sparse = f"absent: {reason}"
    return {
        "gpu": properties.name,
        "compute_capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "memory_bytes": properties.total_memory,
        "cuda": torch.version.cuda,
        "cusparse": sparse,
        **_asked_of_the_driver(),
    }


def _asked_of_the_driver() -> Mapping[str, str]:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return {}
    command = [tool, f"--query-gpu={','.join(_ASKED)}", "--format=csv,noheader", "--id=0"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    values = [value.strip() for value in answer.stdout.split(",")]
    return dict(zip(_ASKED, values, strict=True)) if len(values) == len(_ASKED) else {}


def measure_device_floor(clock: Timer) -> dict[str, float]:
    """Return what the device does at best today.

    "empty call us": what the events themselves take. "copy GB/s": bytes read and written.
    "dense bf16 TFLOP/s": cuBLAS's product of 8192 x 8192, normally distributed.
    """
    source = torch.empty(_COPIED // 2, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    W = torch.randn(_SIDE, _SIDE, device="cuda").bfloat16()
    times = clock(
        {
            "empty": lambda: None,
            "copy": lambda: target.copy_(source),
            "dense": lambda: W @ W,
        }
    )
    return {
        "empty call us": times["empty"].median * 1e6,
        "copy GB/s": _COPIED / times["copy"].median * 1e-9,
        "dense bf16 TFLOP/s": 2.0 * _SIDE**3 / times["dense"].median * 1e-12,
    }
