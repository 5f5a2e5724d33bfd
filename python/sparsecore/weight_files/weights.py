"""All weights of a file, by name."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from sparsecore.files.bitmask import Weight
from sparsecore.files.tensor_reading import DTYPES
from sparsecore.interop import Array
from sparsecore.weight_files.entry import Entry

__all__ = ["WeightFiles", "naming"]

Read: TypeAlias = Callable[[str], Weight]
_DTYPES: dict[str, np.dtype[Any]] = {dtype.name: dtype for dtype in DTYPES.values()}


class WeightFiles(Mapping[str, Entry]):
    """The weights of a file, or of several that belong together, in the file's order.

    A mapping of name to `Entry`. Made by :func:`open_weights`, which reads headers only.

    Attributes
    ----------
    path : Path
        The file; the first of several: the index, or the model that has data beside it.
    kind : {"safetensors", "sparsecore", "compressed-tensors", "torch", "onnx", "npz"}
    nbytes : int
        Of all files on disk.
    files : tuple of Path
        These files.
    source : object
        What the kind's own functions work with: `Checkpoint`, `TensorFiles`, `TorchFile`,
        `OnnxFile` or a path.
    replaced : dict of str to callable
        Gives the weights that are to be written in the place of the file's; see `replacing`.
    """

    def __init__(
        self,
        files: Sequence[Path],
        kind: str,
        entries: Iterable[Entry],
        read: Read,
        source: Any = None,
        replaced: Mapping[str, Callable[[], Array]] | None = None,
    ) -> None:
        self.files, self.kind, self.source = tuple(files), kind, source
        self.path = self.files[0]
        self.nbytes = sum(file.stat().st_size for file in self.files)
        self._entries = {entry.name: entry for entry in entries}
        self._read, self.replaced = read, dict(replaced or {})

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
        if name in self.replaced:
            return self.replaced[name]()
        self.numpy_dtype(name)
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

    def numpy_dtype(self, name: str) -> np.dtype[Any]:
        """Return the dtype of a weight.

        Raises
        ------
        KeyError
            Where there is none of this name.
        ValueError
            Where neither numpy nor ml_dtypes has it; names the file.
        """
        dtype = self._entries[name].dtype
        if dtype not in _DTYPES:
            msg = f"{self.path}: {name!r} has dtype {dtype}, which is not read"
            raise ValueError(msg)
        return _DTYPES[dtype]

    def dense_bytes(self, name: str) -> int:
        """Return the bytes that a weight takes dense; raises as `numpy_dtype`."""
        return self._entries[name].size * self.numpy_dtype(name).itemsize

    def replacing(self, arrays: Mapping[str, Callable[[], Array]]) -> "WeightFiles":
        """Return the same weights with some in the place of others, which are not read before.

        Parameters
        ----------
        arrays : mapping of str to callable
            Each returns the dense weight, of the shape and dtype that the file has. Names that are
            tied to one of these follow it.

        Raises
        ------
        KeyError
            Where there is no weight of a name.
        """
        given = {self._entries[name].name: array for name, array in arrays.items()}
        tied = {
            name: given[entry.tied_to]
            for name, entry in self._entries.items()
            if entry.tied_to is not None and entry.tied_to in given and name not in given
        }
        replaced = self.replaced | given | tied
        entries = (
            replace(entry, stored="dense") if name in replaced else entry
            for name, entry in self._entries.items()
        )
        return WeightFiles(self.files, self.kind, entries, self._read, self.source, replaced)

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
