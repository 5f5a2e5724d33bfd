"""From a checkpoint of dense, pruned weights to a sparse one, and back, without the model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeAlias

import numpy as np

from sparsecore.checkpoint import Checkpoint, PathLike, load_checkpoint
from sparsecore.compressed_tensors import load_compressed_tensors
from sparsecore.files.checkpoint_header import join
from sparsecore.files.tensor_reading import open_tensors
from sparsecore.formats import CSR, Sparse24
from sparsecore.interop import VALUE_DTYPES, Array

__all__ = ["Converted", "densified", "read_dense", "sparsified", "sparsify_all"]

Weight: TypeAlias = CSR | Sparse24 | Array


@dataclass(frozen=True, slots=True)
class Converted:
    """A weight of a layer, and what it became.

    Attributes
    ----------
    name : str
    shape : tuple of int
        Of the dense weight.
    sparsity : float
        Fraction of it that is zero.
    weight : CSR, Sparse24 or numpy array
        The smallest of these by `storage()`.
    before, after : int
        Bytes dense and as it is now.
    why : str
        One phrase.
    """

    name: str
    shape: tuple[int, ...]
    sparsity: float
    weight: Weight
    before: int
    after: int
    why: str


def sparsified(name: str, weight: Array) -> Converted:
    """Make a weight sparse where that is smaller.

    Parameters
    ----------
    name : str
    weight : (m, k) array, or (m, c, h, w) of a convolution, which becomes a matrix (m, c h w)
        Of any dtype; those that have no kernel stay dense.

    Examples
    --------
    >>> import numpy as np
    >>> found = sparsified("fc.weight", np.eye(64, dtype=np.float32))
    >>> found.weight.format, found.before, found.after
    ('csr', 16384, 385)
    """
    matrix = weight.reshape(weight.shape[0], -1) if weight.size else weight
    zeros = weight.size - int(np.count_nonzero(matrix))
    sparsity = zeros / max(weight.size, 1)

    def result(best: Weight, after: int, why: str) -> Converted:
        return Converted(name, weight.shape, sparsity, best, weight.nbytes, after, why)

    if weight.dtype not in VALUE_DTYPES.values():
        return result(weight, weight.nbytes, f"{weight.dtype} has no kernel")
    if not zeros:
        return result(weight, weight.nbytes, "it has no zeros")
    candidates: list[CSR | Sparse24] = [CSR.from_dense(matrix)]
    if weight.ndim == 2 and _is_24(matrix):
        candidates.append(Sparse24.from_dense(matrix))
    best = min(candidates, key=lambda A: A.storage().total)
    size = best.storage()
    why = f"{size.ratio:.3g} of the dense bytes"
    if size.total >= weight.nbytes:
        return result(weight, weight.nbytes, f"{best.format} would be {why}")
    return result(best, size.total, why)


def _is_24(matrix: Array) -> bool:
    try:
        Sparse24.from_dense(matrix)
    except ValueError:  # which names the first group that has more
        return False
    return True


def _is_compressed_tensors(path: PathLike) -> bool:
    """Whether a checkpoint has weights by bitmask, in the formats of compressed-tensors."""
    names = open_tensors(Path(path)).entries
    return any(name.endswith(".bitmask") and name[:-7] + "compressed" in names for name in names)


def read_dense(path: PathLike) -> Mapping[str, Weight]:
    """Open an ordinary checkpoint, or one of compressed-tensors.

    Raises
    ------
    ValueError
        Where it already is a sparse one, whose header a conversion would lose.
    """
    if _is_compressed_tensors(path):
        return load_compressed_tensors(path)
    checkpoint = load_checkpoint(path)
    if checkpoint.header.layers or checkpoint.header.fused.modules:
        msg = f"{checkpoint.files.path} already is a sparse checkpoint"
        raise ValueError(msg)
    return checkpoint


def sparsify_all(
    weights: Mapping[str, Weight], skip: tuple[str, ...], tell: Callable[[Converted], object]
) -> tuple[dict[str, Weight], dict[str, tuple[int, ...]]]:
    """Make the weights of layers sparse where that is smaller; the rest stays as it is.

    Returns
    -------
    weights, shapes
        As `sparsecore.save_checkpoint` takes them.
    """
    result: dict[str, Weight] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for name, weight in weights.items():
        dense = weight if isinstance(weight, np.ndarray) else np.asarray(weight.toarray())
        is_layer = dense.ndim in (2, 4) and name.rpartition(".")[2] == "weight"
        if not is_layer or any(fnmatchcase(name, pattern) for pattern in skip):
            result[name] = dense
            continue
        converted = sparsified(name, dense)
        tell(converted)
        result[name] = converted.weight
        if dense.ndim == 4 and not isinstance(converted.weight, np.ndarray):
            shapes[name] = dense.shape
    return result, shapes


def densified(checkpoint: Checkpoint) -> dict[str, Array]:
    """Return all weights dense, in their shapes, tied ones under all their names."""
    layers = {join(n, "weight"): layer for n, layer in checkpoint.header.layers.items()}
    result: dict[str, Array] = {}
    for name, weight in checkpoint.items():
        if isinstance(weight, np.ndarray):
            result[name] = weight
        else:
            stored = checkpoint.header.tied.get(name, name)
            layer = layers[stored]
            dense = np.asarray(weight.toarray()).reshape(layer.weight_shape)
            dtype = None if layer.dtype is None else VALUE_DTYPES[layer.dtype]
            result[name] = dense if dtype is None else dense.astype(dtype)
    return result
