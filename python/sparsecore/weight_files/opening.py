"""One way into files of weights of every kind."""

from collections.abc import Callable
from pathlib import Path

from sparsecore.checkpoint import PathLike
from sparsecore.weight_files.from_npz import open_npz
from sparsecore.weight_files.from_onnx import open_onnx
from sparsecore.weight_files.from_safetensors import open_safetensors
from sparsecore.weight_files.from_torch import open_torch
from sparsecore.weight_files.weights import WeightFiles

__all__ = ["TORCH_SUFFIXES", "open_weights"]

TORCH_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")
_OPENERS: dict[str, Callable[[Path], WeightFiles]] = {
    ".safetensors": open_safetensors,
    ".json": open_safetensors,
    ".npz": open_npz,
    ".onnx": open_onnx,
    **dict.fromkeys(TORCH_SUFFIXES, open_torch),
}


def open_weights(path: PathLike) -> WeightFiles:
    """Open a file of weights, of any kind, without the model.

    Parameters
    ----------
    path : path
        - ``.safetensors``, an index ``.safetensors.index.json``, or a folder with one of these:
          dense, sparse as sparsecore writes it (`save`, `save_checkpoint`), or by bitmask as
          compressed-tensors wrote it.
        - ``.pt``, ``.pth``, ``.bin``, ``.ckpt``: a state_dict by ``torch.save``, also where it lies
          in a dict under "state_dict" or "model". Needs torch. No code of the file is run. Files of
          torch before 1.6 are refused.
        - ``.onnx``, with its external data beside it. Needs the package onnx.
        - ``.npz``: a matrix by ``scipy.sparse.save_npz``, whose name is the file's, or dense arrays
          by ``numpy.savez``.

    Returns
    -------
    WeightFiles
        A mapping of name to `Entry`; ``read(name)`` and ``dense(name)`` read a weight.

    Raises
    ------
    ValueError
        Where the ending is another one, or the file is not whole, claims more than it holds or is
        not of its kind; names the file. Nothing is allocated that the file does not hold.
    ModuleNotFoundError
        Where torch or onnx is needed and not installed; names the extra.
    OSError
        Where the file cannot be read.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> import sparsecore as sc
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.safetensors")
    ...     W = np.eye(100, dtype=np.float32)
    ...     size = sc.save_checkpoint(path, {"fc.weight": sc.CSR.from_dense(W)})
    ...     weights = open_weights(path)
    ...     print(weights["fc.weight"].stored, weights["fc.weight"].nbytes)
    ...     print(np.array_equal(weights.dense("fc.weight"), W))
    csr 601
    True
    """
    source = Path(path)
    opener = open_safetensors if source.is_dir() else _OPENERS.get(source.suffix.lower())
    if opener is None:
        expected = ", ".join(suffix for suffix in _OPENERS if suffix != ".json")
        msg = f"{source}: ends in {source.suffix!r}, expected a folder or one of {expected}"
        raise ValueError(msg)
    return opener(source)
