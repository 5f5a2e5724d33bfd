"""One threshold over scores that lie on several ranks, found without gathering them.

The k largest scores of all ranks follow from the k-th largest, which `radix_selection` finds by
counts alone: each of its passes sums 2 KiB of counts over the ranks. Float32 takes four passes,
whatever the number of scores. Scores equal to the threshold are told apart by position: each rank
learns how many lie before its own.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsecore.distributed.agreement import exchange
from sparsecore.interop import VALUE_DTYPES, from_numpy, import_torch, is_tensor, to_numpy
from sparsecore.pruning._arrays import checked_scores
from sparsecore.pruning.allocation import checked_sparsity
from sparsecore.pruning.radix_selection import DIGIT_BITS, DIGITS, kth_largest, ordered_keys

if TYPE_CHECKING:
    import numpy.typing as npt

    from sparsecore.pruning._arrays import Array
    from sparsecore.pruning.radix_selection import Int64, Keys

_FLOATS = tuple(name for name in VALUE_DTYPES if name != "int8")
# In the agreement on the arguments; the order is that of the messages in _keys_of_all.
_FACTS = 4


@dataclass(frozen=True, slots=True)
class SelectionTraffic:
    """What a selection exchanges besides its agreement of 40 bytes a rank.

    Parameters
    ----------
    passes : int
        Digits of a key: one all-reduce for each.
    all_reduced : int
        Bytes that each rank puts into all-reduces, together.
    all_gathered : int
        Bytes that each rank puts into all-gathers.
    """

    passes: int
    all_reduced: int
    all_gathered: int


def selection_traffic(itemsize: int, *, layers: int = 1) -> SelectionTraffic:
    """Return what `global_masks` exchanges; it does not depend on the number of scores.

    Parameters
    ----------
    itemsize : int
        Bytes of a score: 8 for float64, 4 for float32, and 4 for the 16-bit floats.
    layers : int
        Names in the mapping.

    Examples
    --------
    >>> selection_traffic(4, layers=50)
    SelectionTraffic(passes=4, all_reduced=8592, all_gathered=400)
    """
    passes = itemsize * 8 // DIGIT_BITS
    return SelectionTraffic(passes, 8 * (layers + passes * DIGITS), 8 * layers)


def global_masks(scores: Mapping[str, Array], kept: int, *, group: Any = None) -> dict[str, Any]:
    """Keep the `kept` largest of all ranks' scores, ties to the lowest global index.

    A collective: all ranks of the group call it with the same names in the same order.

    Parameters
    ----------
    scores : mapping of str to array or tensor, of float64, float32, float16 or bfloat16
        This rank's block of each layer, of any shape, maybe empty. A layer is what the ranks'
        blocks, flattened, are in the order of the ranks (as with tensors sharded along axis 0), and
        the global index runs through it, then through the next layer. 0.0 and -0.0 are equal.
    kept : int
        How many to keep of all layers and ranks together.
    group : torch.distributed.ProcessGroup, optional
        By default all processes.

    Returns
    -------
    dict of str to array or tensor of bool
        This rank's blocks of the masks that ``top_of_rows`` gives for all scores on one process,
        bit by bit.

    Raises
    ------
    RuntimeError
        Without a process group, or without a backend for CPU tensors.
    TypeError, ValueError
        On every rank: a score is NaN or not of a floating dtype, dtypes, names or `kept` differ,
        or `kept` is not from 0 to the number of scores.

    Examples
    --------
    >>> import numpy as np
    >>> import torch.distributed as dist
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> global_masks({"a": np.array([0.5, 0.9]), "b": np.array([0.5, 0.1])}, 2)
    {'a': array([ True,  True]), 'b': array([False, False])}
    >>> dist.destroy_process_group()
    """
    keys, sizes = _keys_of_all("global_masks", scores, kept, group)
    size = int(sizes.sum())
    if not 0 <= kept <= size:
        msg = f"global_masks: kept is {kept}, expected 0 to {size}, the scores of all ranks"
        raise ValueError(msg)
    masks = _select(keys, kept, size, group)
    return {
        name: from_numpy(mask.reshape(tuple(scores[name].shape)), like=scores[name])
        for name, mask in zip(scores, masks, strict=True)
    }


def global_counts(
    scores: Mapping[str, Array], sparsity: float, *, group: Any = None
) -> dict[str, int]:
    """Put one threshold over the scores of all layers and ranks: ``allocation.global_``.

    A collective: all ranks of the group call it with the same names in the same order.

    Parameters
    ----------
    scores, group
        As in `global_masks`.
    sparsity : float
        Fraction of all weights of all ranks to prune, in [0, 1).

    Returns
    -------
    dict of str to int
        How many of the best scores lie in each layer, all ranks together: on every rank what
        ``allocation.global_`` gives for the whole layers.

    Raises
    ------
    RuntimeError, TypeError, ValueError
        As `global_masks`; ValueError for a sparsity outside [0, 1) or not the same on every rank.

    Examples
    --------
    >>> import numpy as np
    >>> import torch.distributed as dist
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> global_counts({"a": np.array([0.1, 0.9]), "b": np.array([0.7, 0.8])}, 0.5)
    {'a': 1, 'b': 1}
    >>> dist.destroy_process_group()
    """
    keys, sizes = _keys_of_all("global_counts", scores, sparsity, group)
    size = int(sizes.sum())
    masks = _select(keys, size - round(sparsity * size), size, group)
    counts = _summed(np.array([mask.sum() for mask in masks], np.int64), group)
    return dict(zip(scores, counts.tolist(), strict=True))


def _keys_of_all(
    caller: str, scores: Mapping[str, Array], wanted: float, group: Any
) -> tuple[list[Keys], Int64]:
    """Return the keys of each layer's block here, and each layer's size on all ranks together."""

    def prepare() -> tuple[list[Keys], list[int]]:
        if caller == "global_counts":
            checked_sparsity(wanted, caller=caller)
        elif not isinstance(wanted, int) or isinstance(wanted, bool):
            msg = f"{caller}: kept is a {type(wanted).__name__}, expected an int"
            raise TypeError(msg)
        elif not 0 <= wanted < 2**62:
            msg = f"{caller}: kept is {wanted}, expected 0 to the scores of all ranks"
            raise ValueError(msg)
        if not isinstance(scores, Mapping):
            msg = f"{caller}: scores is {type(scores).__name__}, expected a mapping of names"
            raise TypeError(msg)
        arrays = [_floats(s, name=f"{caller}: scores[{name!r}]") for name, s in scores.items()]
        itemsize = max((array.itemsize for array in arrays), default=4)
        keys = [ordered_keys(array.astype(f"f{itemsize}", copy=False)) for array in arrays]
        names = zlib.crc32(repr(list(scores)).encode())
        # The bits of a sparsity, so that ranks agree on the float itself.
        number = int(np.float64(wanted).view(np.int64))
        return keys, [len(keys), names, itemsize, number]

    keys, facts = exchange(caller, prepare, facts=_FACTS, group=group)
    said = ("number of layers", "names of layers", "dtype", "sparsity or kept count")
    for column, what in enumerate(said):
        differing = np.flatnonzero(facts[:, column] != facts[0, column])
        if len(differing):
            msg = f"{caller}: rank {differing[0]} has another {what} than rank 0"
            raise ValueError(msg)
    return keys, _summed(np.array([k.size for k in keys], np.int64), group)


def _floats(scores: Any, *, name: str) -> npt.NDArray[np.floating[Any]]:
    """Return scores as a flat numpy array of float32 or float64."""
    checked = checked_scores(scores, name=name)
    array = to_numpy(checked.cpu() if is_tensor(checked) else checked, name=name)
    if array.dtype.name not in _FLOATS:
        msg = f"{name} has dtype {array.dtype}, expected one of {', '.join(_FLOATS)}"
        raise TypeError(msg)
    wide = np.float64 if array.dtype.itemsize == 8 else np.float32
    return np.ascontiguousarray(array.reshape(-1), dtype=wide)


def _select(keys: list[Keys], kept: int, size: int, group: Any) -> list[npt.NDArray[np.bool_]]:
    """Return each layer's mask of the `kept` largest of all `size` keys."""
    if kept in (0, size):
        return [np.full(k.size, kept > 0) for k in keys]
    threshold, ties_kept = kth_largest(keys, kept, lambda counts: _summed(counts, group))
    masks = [k > threshold for k in keys]
    ties = [np.flatnonzero(k == threshold) for k in keys]
    before = _ties_before([places.size for places in ties], group)
    for mask, places, earlier in zip(masks, ties, before, strict=True):
        mask[places[: max(0, ties_kept - earlier)]] = True
    return masks


def _ties_before(own: list[int], group: Any) -> list[int]:
    """Return for each layer how many ties lie before this rank's block of it."""
    torch = import_torch()
    import torch.distributed as dist

    mine = torch.tensor(own, dtype=torch.int64)
    of_ranks = [torch.empty_like(mine) for _ in range(dist.get_world_size(group))]
    dist.all_gather(of_ranks, mine, group=group)
    table = torch.stack(of_ranks).numpy()  # (ranks, layers)
    # Layer after layer, and in each rank after rank.
    before = np.cumsum(table.T).reshape(table.T.shape) - table.T
    return [int(n) for n in before[:, dist.get_rank(group)]]


def _summed(counts: Any, group: Any) -> Int64:
    torch = import_torch()
    import torch.distributed as dist

    tensor = torch.from_numpy(counts)
    dist.all_reduce(tensor, group=group)
    summed: Int64 = tensor.numpy()
    return summed
