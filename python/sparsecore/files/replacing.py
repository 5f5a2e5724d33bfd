"""Names for files that belong together, so that new ones stand beside the ones they replace.

The file that names the others (an index, a graph) is exchanged when all of them are there, and the
older ones go last: whenever a run is killed, what is named is whole.
"""

import re
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["TAG", "data_beside", "unused", "unused_data"]

TAG = r"(?:-[0-9a-f]{8})?"
"""What a name may have where the plain one was taken, as a regular expression."""


def unused(names: Callable[[str], Sequence[Path]]) -> Sequence[Path]:
    """Return files of which none is there.

    Parameters
    ----------
    names : callable
        ``names(tag)`` are the files with a tag in their names: nothing, which is tried first, or
        what `TAG` fits.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.bin")
    ...     (first,) = unused(lambda tag: [path.with_stem(f"a{tag}")])
    ...     first.touch()
    ...     (second,) = unused(lambda tag: [path.with_stem(f"a{tag}")])
    >>> first.name, bool(re.fullmatch(f"a{TAG}.bin", second.name)), second.name == "a.bin"
    ('a.bin', True, False)
    """
    found = names("")
    while any(file.exists() or file.is_symlink() for file in found):
        found = names(f"-{uuid.uuid4().hex[:8]}")
    return found


def unused_data(model: Path) -> Path:
    """Return the file for the data of a model's: ``MODEL.data``, or with a tag where that is there.

    Examples
    --------
    >>> unused_data(Path("model.onnx")).name
    'model.onnx.data'
    """
    (file,) = unused(lambda tag: [model.with_name(f"{model.name}{tag}.data")])
    return file


def data_beside(model: Path) -> list[Path]:
    """Return the files that are there by names that `unused_data` gives."""
    pattern = re.compile(rf"{re.escape(model.name)}{TAG}\.data")
    return [file for file in model.parent.iterdir() if pattern.fullmatch(file.name)]
