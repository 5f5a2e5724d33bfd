"""Packages that some kinds of files need."""

import importlib
from pathlib import Path
from typing import Any

__all__ = ["import_for"]


def import_for(path: Path, package: str, *, extra: str) -> Any:
    """Import the package that a file's kind needs.

    Raises
    ------
    ModuleNotFoundError
        Where it is not installed; names the file and the extra.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package.partition(".")[0]:
            raise
        msg = f"{path}: needs {package}, which is not installed: pip install 'sparsecore[{extra}]'"
        raise ModuleNotFoundError(msg, name=error.name) from error
