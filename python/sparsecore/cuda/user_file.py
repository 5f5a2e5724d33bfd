"""Files of the user's with what was measured on his devices: JSON objects of named entries."""

import json
import os
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

from sparsecore.files.complete import complete_or_absent

__all__ = ["default_path", "read", "write"]

T = TypeVar("T")
_FORMAT = 1


def default_path(name: str) -> Path:
    """Return where a file lies: below ``XDG_CACHE_HOME``, or ``~/.cache``.

    Examples
    --------
    >>> from sparsecore.cuda import user_file
    >>> user_file.default_path("cusparselt").name
    'cusparselt.json'
    """
    return _cache_folder(os.environ.get("XDG_CACHE_HOME", "")) / "sparsecore" / f"{name}.json"


@cache
def _cache_folder(named: str) -> Path:
    if named:
        return Path(named)
    try:
        return Path.home() / ".cache"
    except RuntimeError:  # there is no home
        return Path(tempfile.gettempdir())


def read(path: Path, what: str, parsed: Callable[[str, object], T]) -> dict[str, T]:
    """Return the entries of a file; none where there is none, or a broken one, which is warned of.

    Parameters
    ----------
    path : Path
    what : str
        What the object of the entries is called, ``"algorithms"``.
    parsed : callable
        From the name and the value of an entry to what it says; ValueError where that is nothing.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        _warn(f"{path} cannot be read, {what} are found anew: {error}")
        return {}
    try:
        return {name: parsed(name, entry) for name, entry in _entries(text, what).items()}
    except (ValueError, RecursionError) as error:
        _warn(f"{path} is broken, the next {what} replace it: {error}")
        return {}


def write(path: Path, what: str, entries: dict[str, list[float]]) -> None:
    """Write all entries of a file, which other processes see before or after, never in between.

    Of two processes that write at once, one may take the other's entries out again: those are found
    another time. A file that cannot be written is warned of.
    """
    content = {"format": _FORMAT, what: dict(sorted(entries.items()))}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with complete_or_absent(path) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        _warn(f"what was found is not kept: {error}")


def _entries(text: str, what: str) -> dict[str, object]:
    """Return the entries of a file; ValueError where it is another's, or edited."""
    content = json.loads(text)
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        msg = f"expected an object with format {_FORMAT}"
        raise ValueError(msg)
    entries = content.get(what)
    if not isinstance(entries, dict):
        msg = f"{what} is {type(entries).__name__}, expected an object"
        raise ValueError(msg)
    return entries


def _warn(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=4)
