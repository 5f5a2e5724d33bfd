"""The scripts in bench, imported where a claim or a table needs what they compute."""

import importlib
import sys
from types import ModuleType

from claims.documents import ROOT

__all__ = ["script"]


def script(folder: str, name: str) -> ModuleType:
    """Import a script of a folder of bench; the names that it and its neighbours took are freed."""
    before = set(sys.modules)
    place = ROOT / "bench" / folder
    sys.path.insert(0, str(place))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(place))
        for new in set(sys.modules) - before:
            if str(getattr(sys.modules[new], "__file__", "")).startswith(str(place)):
                del sys.modules[new]
