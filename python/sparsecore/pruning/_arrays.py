"""The few array operations of pruning that numpy and torch spell differently.

Everything else in this subpackage uses what both kinds of array share (comparisons, ``abs``,
``reshape``, ``sum``, ``cumsum``), so that one text serves both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from sparsecore.interop import is_tensor, torch_or_none

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

Array: TypeAlias = "npt.NDArray[Any] | torch.Tensor"


def checked_scores(scores: Any, *, name: str, origin: Any = None) -> Any:
    """Return scores that can be ranked, detached from any graph.

    Parameters
    ----------
    scores : array or tensor
        Any shape, any real dtype.
    name : str
        What the error messages call the argument, e.g. ``"prune_mask: scores"``.
    origin : tensor, optional
        The weight that was scored. The message says so where it is NaN itself.

    Returns
    -------
    array or tensor
        The same values without a graph. Dtypes that cannot be sorted (bfloat16 of numpy, bool and
        float8 of torch) come back as wider ones that hold each of their values.

    Raises
    ------
    TypeError
        Neither a numpy array nor a dense torch tensor, or not of real numbers.
    ValueError
        A score is NaN: it has no place in any order.
    """
    if is_tensor(scores):
        scores = _sortable_tensor(scores.detach(), name)
    elif isinstance(scores, np.ndarray) and not isinstance(scores, np.ma.MaskedArray):
        scores = _sortable_array(scores, name)
    else:
        msg = f"{name} is {type(scores).__name__}, expected a numpy array or a torch tensor"
        raise TypeError(msg)
    nan_count = int((scores != scores).sum())
    if nan_count:
        msg = f"{name} has {nan_count} NaN among {math.prod(scores.shape)} entries: NaN has no rank"
        if origin is not None and bool((origin != origin).any()):
            msg += "; the weight itself has NaN: has training diverged?"
        raise ValueError(msg)
    return scores


def _sortable_array(scores: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    # Extension dtypes have the kind of records, but not their type.
    if scores.dtype.kind == "V" and scores.dtype.type is not np.void:
        return scores.astype(np.float32)
    if scores.dtype.kind not in "biuf":
        raise TypeError(_not_real(scores, name))
    return scores


def _sortable_tensor(scores: Any, name: str) -> Any:
    """Return a tensor in a dtype that torch can sort, which holds each of the values."""
    dtype = str(scores.dtype).removeprefix("torch.")
    if scores.is_complex() or scores.is_quantized or dtype == "uint64":
        raise TypeError(_not_real(scores, name))
    if scores.is_meta or str(scores.layout) != "torch.strided":
        what = "has no values" if scores.is_meta else f"has layout {scores.layout}"
        msg = f"{name} is a tensor that {what}, expected a dense one"
        raise TypeError(msg)
    if scores.is_floating_point() and scores.element_size() == 1:
        return scores.float()
    wider = {"bool": "uint8", "uint16": "int32", "uint32": "int64"}.get(dtype)
    return scores if wider is None else scores.to(getattr(torch_or_none(), wider))


def _not_real(scores: Any, name: str) -> str:
    return f"{name} has dtype {scores.dtype}, expected a real dtype"


def as_float64(array: Any) -> npt.NDArray[np.float64]:
    """Return an array or tensor as a float64 numpy array."""
    if is_tensor(array):
        array = array.detach().cpu().double().numpy()
    return np.asarray(array, np.float64)


def join(arrays: Sequence[Any]) -> Any:
    """Concatenate arrays of one kind, flattened, on the first one's device."""
    torch = torch_or_none()
    if torch is not None and is_tensor(arrays[0]):
        return torch.cat([a.reshape(-1).to(arrays[0].device) for a in arrays])
    return np.concatenate([a.reshape(-1) for a in arrays])


def like_origin(array: npt.NDArray[Any], origin: Any) -> Any:
    """Return a numpy array as it is, or as a tensor on the device of a tensor `origin`."""
    torch = torch_or_none()
    if torch is not None and is_tensor(origin):
        return torch.from_numpy(np.ascontiguousarray(array)).to(origin.device)
    return array


def move_axis(array: Any, source: int, goal: int) -> Any:
    """Return a view with one axis at another place."""
    return array.moveaxis(source, goal) if is_tensor(array) else np.moveaxis(array, source, goal)


def contiguous(array: Any) -> Any:
    """Return the same entries in row-major order, copied only where they are not."""
    return array.contiguous() if is_tensor(array) else np.ascontiguousarray(array)


def full_mask(like: Any, *, kept: bool) -> Any:
    """Return a mask of one value, of the shape, kind and device of `like`."""
    torch = torch_or_none()
    if torch is not None and is_tensor(like):
        return torch.full_like(like, kept, dtype=torch.bool)
    return np.full(like.shape, kept)


def top_of_rows(rows: Any, kept: int) -> Any:
    """Mark the `kept` largest entries of each row, ties to the lowest column.

    Parameters
    ----------
    rows : array or tensor, shape (r, c)
        No NaN.
    kept : int
        0 to c.

    Returns
    -------
    array or tensor of bool, shape (r, c)
        Exactly `kept` True in each row.

    Notes
    -----
    Selects the smallest kept value and then fills up with its equals from the left: O(r c),
    where a stable sort would pay a logarithm on layers of many million weights.
    """
    if kept in (0, rows.shape[-1]):
        return full_mask(rows, kept=kept > 0)
    smallest = _kth_largest(rows, kept)
    above, equal = rows > smallest, rows == smallest
    spare = kept - above.sum(-1)[:, None]
    return above | (equal & (equal.cumsum(-1) <= spare))


def _kth_largest(rows: Any, k: int) -> Any:
    torch = torch_or_none()
    if torch is not None and is_tensor(rows):
        # Not kthvalue: on CUDA it is refused under torch.use_deterministic_algorithms.
        return torch.topk(rows, k, dim=-1, sorted=False).values.amin(-1, keepdim=True)
    at = rows.shape[-1] - k
    return np.partition(rows, at, axis=-1)[:, at : at + 1]
