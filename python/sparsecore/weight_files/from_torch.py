"""Weights that ``torch.save`` wrote. torch reads them, with nothing of Python's pickle but data.

The archive is mapped and not read, so that a weight costs memory when it is asked for. Files of
torch before 1.6 are no archives and are refused: torch allocates what these claim before it looks.
"""

import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparsecore import interop
from sparsecore.interop import Array
from sparsecore.weight_files.entry import Entry
from sparsecore.weight_files.extras import import_for
from sparsecore.weight_files.weights import WeightFiles, naming

__all__ = ["TorchFile", "open_torch"]

# Where trainers put a model's state in what they save.
_PLACES = ("state_dict", "model_state_dict", "model", "module", "net", "weights")
_DEEPEST = 3


@dataclass(frozen=True, slots=True)
class TorchFile:
    """What a file holds.

    Attributes
    ----------
    content : object
        All of it.
    place : tuple of str
        The keys that lead to the state_dict; none where it is the content.
    state : mapping of str to Any
        The state_dict.
    """

    content: Any
    place: tuple[str, ...]
    state: Mapping[str, Any]

    @property
    def tensors(self) -> dict[str, Any]:
        """The state's tensors by name."""
        torch = interop.import_torch()
        return {
            name: value
            for name, value in self.state.items()
            if isinstance(name, str) and isinstance(value, torch.Tensor)
        }


def open_torch(path: Path) -> WeightFiles:
    """Open a file that ``torch.save`` wrote; see `open_weights`."""
    path.open("rb").close()  # raises what is wrong with another kind of file
    torch = import_for(path, "torch", extra="torch")
    with naming(path):
        content = _load(torch, path)
        found = _find_state(torch, content)
        if found is None:
            raise ValueError(_without_state(content))
        source = TorchFile(content, *found)
        entries = list(_entries(source.tensors))
    tensors = source.tensors
    return WeightFiles([path], "torch", entries, lambda name: _read(name, tensors[name]), source)


def _load(torch: Any, path: Path) -> Any:
    _check_archive(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols and devices, not of the content
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as fault:  # torch raises what its parts raise of a damaged file
        lines = str(fault).splitlines() or [type(fault).__name__]
        if "weights_only" in str(fault):
            lines = ["it holds Python objects that are no weights; save the model's state_dict()"]
        msg = f"torch does not load it: {lines[0]:.300}"
        raise ValueError(msg) from fault


def _check_archive(path: Path) -> None:
    """Raise ValueError unless a file is an archive whose members lie in it as they are.

    An archive that inflates, or lists more bytes than it has, would take memory that it does not.
    """
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            msg = (
                "not an archive of torch.save; a file of torch before 1.6 has to be saved again: "
                "torch.save(torch.load(FILE, weights_only=True), FILE)"
            )
            raise ValueError(msg)
        size = file.seek(0, 2)
        try:
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
        except (zipfile.BadZipFile, OSError, NotImplementedError) as fault:
            msg = f"not a whole archive of torch: {fault}"
            raise ValueError(msg) from fault
    if any(m.compress_type != zipfile.ZIP_STORED for m in members):
        msg = "its archive is compressed, which torch.save never does"
        raise ValueError(msg)
    if (claimed := sum(m.file_size for m in members)) > size:
        msg = f"its archive lists {claimed} bytes in a file of {size}"
        raise ValueError(msg)


# ---- the state_dict ----


def _find_state(
    torch: Any, content: Any, depth: int = 0
) -> tuple[tuple[str, ...], Mapping[str, Any]] | None:
    """Return the keys that lead to the mapping that has the weights, and the mapping."""
    if not isinstance(content, Mapping) or depth > _DEEPEST:
        return None
    for key in _PLACES:
        found = _find_state(torch, content.get(key), depth + 1)
        if found is not None:
            return (key, *found[0]), found[1]
    has_tensors = any(isinstance(value, torch.Tensor) for value in content.values())
    return ((), content) if has_tensors else None


def _without_state(content: Any) -> str:
    places = ", ".join(map(repr, _PLACES))
    found = f"a {type(content).__name__}"
    if isinstance(content, Mapping):
        found = f"a dict of {', '.join(map(str, list(content)[:8])) or 'nothing'}"
    return f"holds {found:.200}, expected a dict of tensors, by itself or under one of {places}"


def _entries(tensors: Mapping[str, Any]) -> Iterator[Entry]:
    first: dict[tuple[Any, ...], str] = {}
    for name, tensor in tensors.items():
        dtype = str(tensor.dtype).removeprefix("torch.")
        shape, layout = tuple(tensor.shape), str(tensor.layout).removeprefix("torch.")
        if layout != "strided" or tensor.is_quantized:
            stored = "quantized" if tensor.is_quantized else layout
            yield Entry(name, shape, dtype, _inner_bytes(tensor), stored)
            continue
        place = (tensor.data_ptr(), shape, tensor.stride(), dtype)
        other = first.setdefault(place, name) if tensor.numel() else name
        whole = min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())
        nbytes = whole if other == name else 0
        yield Entry(name, shape, dtype, nbytes, "dense", tied_to=None if other == name else other)


def _inner_bytes(tensor: Any) -> int:
    """Return the bytes of the values of a tensor that is sparse or quantized."""
    values = tensor.int_repr() if tensor.is_quantized else tensor
    if values.is_sparse:
        values = values._values()
    elif str(values.layout).startswith("torch.sparse"):
        values = values.values()
    return int(values.numel() * values.element_size())


def _read(name: str, tensor: Any) -> Array:
    """Return a tensor's elements in memory of their own, as numpy has them."""
    if str(tensor.layout) != "torch.strided":
        msg = f"{name!r} has layout {tensor.layout}, expected torch.strided"
        raise ValueError(msg)
    needed, held = tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes()
    if needed > held:
        shape = tuple(tensor.shape)
        msg = f"{name!r} of shape {shape} takes {needed} bytes, of which the file has {held}"
        raise ValueError(msg)
    tensor = tensor.detach().resolve_conj().resolve_neg()
    return np.array(interop.to_numpy(tensor, name=name), order="C")
