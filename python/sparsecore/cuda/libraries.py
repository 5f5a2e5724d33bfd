"""NVIDIA's libraries: which copies this machine has. Nothing is looked for at import."""

import os
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sparsecore import _core

# Where NVIDIA's wheels, the newest first, put the library among the installed packages.
_FOLDERS = ("nvidia/cu13/lib", "nvidia/cusparselt/lib", "cusparselt/lib")


@dataclass(frozen=True, slots=True)
class Library:
    """One of NVIDIA's libraries, as this version of sparsecore sees it.

    Attributes
    ----------
    found : bool
    version : str or None
    reason : str
        Why it is not used.
    path : str or None
        The file that is used.
    """

    found: bool
    version: str | None
    reason: str
    path: str | None = None


def libraries() -> dict[str, Library]:
    """Return what was found of NVIDIA's libraries, by name, and why not.

    Notes
    -----
    cuSPARSELt is used from version 0.8.1 on. The first of these copies is taken: the file that the
    environment variable ``SPARSECORE_CUSPARSELT`` names (then no other is, and 0.8.0 will do); one
    that the process has loaded; those of NVIDIA's wheels among the installed packages; one where
    the system's loader looks. It stays open until the process ends. Without a driver it is found,
    too: only a product needs one.

    Examples
    --------
    >>> import sparsecore as sc
    >>> library = sc.cuda.libraries()["cusparselt"]
    >>> library.found == (library.reason == "")
    True
    """
    try:
        opened = open_cusparselt()
    except RuntimeError as error:
        return {"cusparselt": Library(found=False, version=None, reason=str(error))}
    return {"cusparselt": Library(True, opened.version, "", opened.path)}


@cache
def open_cusparselt() -> "_core.DeviceCusparseLt":
    """Open cuSPARSELt, once; what fails is tried again by the next call.

    Raises
    ------
    RuntimeError
        Where there is no copy that will do, or no CUDA side: the message says why and what to do.
    """
    if not hasattr(_core, "DeviceCusparseLt"):
        raise RuntimeError(_core.cuda_status()[1])
    return _core.DeviceCusparseLt(os.environ.get("SPARSECORE_CUSPARSELT", ""), _folders())


def _folders() -> list[str]:
    """Return the folders of wheels; not below the working directory, which sys.path has as ''."""
    found = (Path(place) / folder for folder in _FOLDERS for place in sys.path if place)
    return [str(folder) for folder in found if folder.is_dir()]
