"""Files for other runtimes: ONNX with exact zeros, and what TensorRT will make of it.

`to_onnx` needs torch and the extra ``export``; of these `tensorrt_eligibility` needs the package
onnx alone, for files, and `read_build_log` nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparsecore.export.build_log import BuildLog, read_build_log
    from sparsecore.export.eligibility import Eligibility, LayerEligibility
    from sparsecore.export.onnx_file import to_onnx
    from sparsecore.export.result import Exported
    from sparsecore.export.tensorrt import tensorrt_eligibility
    from sparsecore.export.zeros import WeightCheck

__all__ = [
    "BuildLog",
    "Eligibility",
    "Exported",
    "LayerEligibility",
    "WeightCheck",
    "read_build_log",
    "tensorrt_eligibility",
    "to_onnx",
]

_MODULES = {
    "BuildLog": "build_log",
    "Eligibility": "eligibility",
    "Exported": "result",
    "LayerEligibility": "eligibility",
    "WeightCheck": "zeros",
    "read_build_log": "build_log",
    "tensorrt_eligibility": "tensorrt",
    "to_onnx": "onnx_file",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for: only some need torch or onnx."""
    if name not in _MODULES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(f"sparsecore.export.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    """List what the package offers."""
    return sorted(__all__)
