"""A file of the user's with the algorithms that searches of cuSPARSELt have found."""

from dataclasses import astuple, dataclass
from pathlib import Path

from sparsecore.cuda import user_file

_WHAT = "algorithms"
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
    return user_file.default_path("cusparselt")


def find(key: SearchKey, path: Path) -> Algorithm | None:
    """Return what was found for a product; None where nothing was, or the file is broken."""
    return _read(path).get(key.text)


def store(key: SearchKey, algorithm: Algorithm, path: Path) -> None:
    """Add a result to the file; a broken file, and one that cannot be written, is warned of."""
    found = _read(path) | {key.text: algorithm}
    user_file.write(path, _WHAT, {name: list(astuple(entry)) for name, entry in found.items()})


def _read(path: Path) -> dict[str, Algorithm]:
    return user_file.read(path, _WHAT, _algorithm)


def _algorithm(name: str, entry: object) -> Algorithm:
    is_one = isinstance(entry, list) and len(entry) == 4
    if not is_one or any(type(n) is not int or abs(n) > _LARGEST for n in entry):  # type: ignore[attr-defined]
        msg = f"{name} is {entry!r}, expected four integers of 32 bits"
        raise ValueError(msg)
    return Algorithm(*entry)  # type: ignore[misc]
