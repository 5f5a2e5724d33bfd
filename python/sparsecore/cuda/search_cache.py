"""A file of the user's with the algorithms that searches of cuSPARSELt have found."""

import json
import os
import warnings
from dataclasses import astuple, dataclass
from pathlib import Path

from sparsecore.files.complete import complete_or_absent

_FORMAT = 1
_LARGEST = 2**31 - 1  # the library's own numbers are of type int


@dataclass(frozen=True, slots=True)
class Algorithm:
    """Which kernel of cuSPARSELt runs, and how: its attributes of an algorithm selection.

    The numbers mean something to one version of the library only.

    Attributes
    ----------
    config_id, split_k, split_k_mode, split_k_buffers : int
    """

    config_id: int
    split_k: int
    split_k_mode: int
    split_k_buffers: int


@dataclass(frozen=True, slots=True)
class SearchKey:
    """What an algorithm was found for: the product (m, k) @ (k, n), where, and by what.

    Attributes
    ----------
    version : str
        The library's.
    architecture : str
        The device's: ``"sm_90"``.
    dtype, out_dtype : str
        ``"bfloat16"``.
    x_order, out_order : str
        ``"rows"`` or ``"columns"``, whichever are contiguous.
    m, n, k : int
    """

    version: str
    architecture: str
    dtype: str
    out_dtype: str
    x_order: str
    out_order: str
    m: int
    n: int
    k: int

    @property
    def text(self) -> str:
        """The key of the file."""
        return "/".join(map(str, astuple(self)))


def default_path() -> Path:
    """Return where the file lies: below ``XDG_CACHE_HOME``, or ``~/.cache``.

    Examples
    --------
    >>> from sparsecore.cuda import search_cache
    >>> search_cache.default_path().name
    'cusparselt.json'
    """
    cache = os.environ.get("XDG_CACHE_HOME", "")
    folder = Path(cache) if cache else Path.home() / ".cache"
    return folder / "sparsecore" / "cusparselt.json"


def find(key: SearchKey, path: Path) -> Algorithm | None:
    """Return what was found for a product; None where nothing was, or the file is broken."""
    return _read(path).get(key.text)


def store(key: SearchKey, algorithm: Algorithm, path: Path) -> None:
    """Add a result to the file, which other processes see before or after, never in between.

    Of two processes that store at once, one may take the other's result out again: that is searched
    for another time. A broken file, and one that cannot be written, is warned of.
    """
    found = _read(path) | {key.text: algorithm}
    content = {
        "format": _FORMAT,
        "algorithms": {name: list(astuple(entry)) for name, entry in sorted(found.items())},
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with complete_or_absent(path) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        _warn(f"the result of a search is not kept: {error}")


def _read(path: Path) -> dict[str, Algorithm]:
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        _warn(f"{path} cannot be read, searches begin anew: {error}")
        return {}
    try:
        return _parsed(text)
    except (ValueError, RecursionError) as error:
        _warn(f"{path} is broken, the next search replaces it: {error}")
        return {}


def _parsed(text: str) -> dict[str, Algorithm]:
    """Return the content of a file; ValueError where it is another's, or edited."""
    content = json.loads(text)
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        msg = f"expected an object with format {_FORMAT}"
        raise ValueError(msg)
    entries = content.get("algorithms")
    if not isinstance(entries, dict):
        msg = f"algorithms is {type(entries).__name__}, expected an object"
        raise ValueError(msg)
    return {name: _algorithm(name, entry) for name, entry in entries.items()}


def _algorithm(name: str, entry: object) -> Algorithm:
    is_one = isinstance(entry, list) and len(entry) == 4
    if not is_one or any(type(n) is not int or abs(n) > _LARGEST for n in entry):  # type: ignore[attr-defined]
        msg = f"{name} is {entry!r}, expected four integers of 32 bits"
        raise ValueError(msg)
    return Algorithm(*entry)  # type: ignore[misc]


def _warn(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=4)
