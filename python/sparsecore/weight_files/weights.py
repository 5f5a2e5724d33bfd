"""All weights of a file, by name."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from sparsecore.files.tensor_reading import DTYPES
from sparsecore.formats import CSR, Sparse24
from sparsecore.interop import Array
from sparsecore.weight_files.entry import Entry

__all__ = ["Read", "WeightFiles", "naming"]

Weight: TypeAlias = CSR | Sparse24 | Array
Read: TypeAlias = Callable[[str], Weight]
_DTYPES: dict[str, np.dtype[Any]] = {dtype.name: dtype for dtype in DTYPES.values()}


class WeightFiles(Mapping[str, Entry]):
    """The weights of a file, or of several that belong together, in the file's order.

    A mapping of name to `Entry`. Made by :func:`open_weights`, which reads headers only.

    Attributes
    ----------
    path : Path
        The file; the index of several.
    kind : {"safetensors", "sparsecore", "compressed-tensors", "torch", "onnx", "npz"}
    nbytes : int
        Of all files on disk.
    source : object
        What the kind's own functions work with: `Checkpoint`, `TensorFiles`, `TorchFile`,
        `OnnxFile` or a path.
    """

    def __init__(
        self,
        path: Path,
        kind: str,
        nbytes: int,
        entries: Iterable[Entry],
        read: Read,
        source: Any = None,
    ) -> None:
        self.path, self.kind, self.nbytes, self.source = path, kind, nbytes, source
        self._entries = {entry.name: entry for entry in entries}
        self._read = read

    def __getitem__(self, name: str) -> Entry:
        """Return what the file says of a weight."""
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        """Yield the names in the file's order."""
        return iter(self._entries)

    def __len__(self) -> int:
        """Return the number of weights."""
        return len(self._entries)

    def read(self, name: str) -> Weight:
        """Read one weight as it is stored, into memory of its own.

        Returns
        -------
        CSR, Sparse24 or numpy array
            A convolution's matrix has its last three axes as columns. A matrix of COO comes as CSR.

        Raises
        ------
        KeyError
            Where there is none of this name.
        ValueError
            Where it is not what the file claims, or its dtype has no counterpart in numpy; names
            the file.
        """
        entry = self._entries[name]
        if entry.dtype not in _DTYPES:
            msg = f"{self.path}: {name!r} has dtype {entry.dtype}, which is not read"
            raise ValueError(msg)
        with naming(self.path):
            return self._read(name)

    def dense(self, name: str) -> Array:
        """Read one weight as a dense array of `Entry.shape` and `Entry.dtype`.

        Raises
        ------
        KeyError, ValueError
            As `read`.
        """
        weight, entry = self.read(name), self._entries[name]
        if isinstance(weight, np.ndarray):
            return weight
        array = np.asarray(weight.toarray()).reshape(entry.shape)
        return array.astype(_DTYPES[entry.dtype], copy=False)

    def __repr__(self) -> str:
        """Return one line: file, kind, number of weights, bytes."""
        count = f"{len(self)} weights, {self.nbytes:,} bytes"
        return f"<WeightFiles {str(self.path)!r}, {self.kind}, {count}>"


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let what is wrong with a file be a ValueError that names it."""
    try:
        yield
    except (ValueError, IndexError, TypeError, OverflowError) as fault:
        message = str(fault)
        is_named = message.startswith((str(path), f"{path.parent}/"))
        raise ValueError(message if is_named else f"{path}: {message}") from fault
