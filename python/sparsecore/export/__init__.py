"""Files for other runtimes: ONNX with exact zeros, and what TensorRT will make of it.

`to_onnx` needs torch and the extra ``export``; `tensorrt_eligibility` and `read_build_log` read
files with sparsecore alone.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparsecore.export.onnx_file import to_onnx
    from sparsecore.export.result import Exported
    from sparsecore.export.zeros import WeightCheck

__all__ = ["Exported", "WeightCheck", "to_onnx"]

_MODULES = {"Exported": "result", "WeightCheck": "zeros", "to_onnx": "onnx_file"}


def __getattr__(name: str) -> Any:
    """Import what needs torch when it is first asked for."""
    if name not in _MODULES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(f"sparsecore.export.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    """List what the package offers."""
    return sorted(__all__)
