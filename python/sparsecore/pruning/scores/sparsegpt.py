"""SparseGPT: which weights of a linear layer to prune, and what the others become in return."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsecore.interop import is_tensor, torch_or_none
from sparsecore.pruning._arrays import full_mask, top_of_rows
from sparsecore.pruning._numbers import checked_sparsity, is_real
from sparsecore.pruning.patterns import ANY_POSITION, NM, Pattern

if TYPE_CHECKING:
    from sparsecore.pruning._arrays import Array

__all__ = ["sparsegpt"]


def sparsegpt(
    weights: Mapping[str, Array],
    *,
    hessians: Mapping[str, Array],
    sparsity: float,
    pattern: Pattern = ANY_POSITION,
    block: int = 128,
    damping: float = 0.01,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Prune linear layers so that their outputs on calibration inputs change little.

    Columns are gone through from left to right. What pruning does to the outputs is undone, as far
    as it can be, by the columns to the right: with ``U = chol(H^-1)``, upper triangular, a pruned
    weight w of column j changes its row's columns from j on by ``-w / U_jj * U[j, j:]``. The score
    of a weight is ``w^2 / U_jj^2``, the loss that this leaves. It is taken anew at each block of
    columns, over all rows, with what the blocks before did to the weights; for ``NM(n, m)`` at each
    group of m columns, row by row.

    Parameters
    ----------
    weights : mapping of str to array or tensor, shape (out, in)
        Floating point. They are not changed.
    hessians : mapping of str to array or tensor, shape (in, in)
        Of each weight ``2 X X^T / n``, X (in, n) being the layer's inputs; of the weight's kind and
        device. A factor common to all entries has no influence.
    sparsity : float
        Fraction of each weight to prune, in [0, 1). Through the first c columns of a weight with r
        rows ``round(sparsity * r * c)`` are pruned, c being the end of a block: so the counts of
        the blocks are exact, and their sum is ``round(sparsity * size)``.
    pattern : Unstructured or NM
        ``NM(n, m)`` along the rows goes with the sparsity 1 - n / m.
    block : int
        Columns in a block, at least 1. For NM the next lower multiple of m, at least m.
    damping : float
        What is added to the diagonal, as a share of its mean over the inputs that are not always
        zero; at least 0.

    Returns
    -------
    masks : dict of str to array or tensor of bool
        True = kept. Ties keep the lowest index.
    new weights : dict of str to array or tensor
        Of the weights' dtypes; zero where pruned. Columns whose input is always zero (a zero on the
        Hessian's diagonal) count for nothing: they become zero and are pruned first.

    Raises
    ------
    TypeError
        An argument that is no mapping, a weight that is no array of floating point.
    ValueError
        A shape, sparsity, pattern, block or damping out of range; a number that is not finite; a
        Hessian that is missing, or not positive definite after damping.

    Notes
    -----
    Computed in float64 where a weight or its Hessian is, else in float32. Time O(out in^2), memory
    five times the Hessian. On a GPU TF32 must be off, as it is by torch's default: the errors of
    its products are as large as what is to be undone.

    References
    ----------
    Frantar and Alistarh, "SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot",
    ICML 2023 (arXiv:2301.00774), section 3 and algorithm 1. There the inverse is factored; here
    ``H = M M^T`` with M upper triangular is, whose inverse is the same U.

    Examples
    --------
    Two inputs that are almost the same: the weight that stays takes over the other's part.

    >>> import numpy as np
    >>> x = np.array([[1.0, -2.0, 3.0], [1.0, -2.0, 3.1]])
    >>> masks, new = sparsegpt(
    ...     {"fc": np.array([[1.0, 2.0]])}, hessians={"fc": 2 * x @ x.T / 3}, sparsity=0.5
    ... )
    >>> masks["fc"], new["fc"].round(1)
    (array([[False,  True]]), array([[0., 3.]]))
    """
    width = _checked_width(sparsity, pattern, block, damping)
    for argument, value in (("weights", weights), ("hessians", hessians)):
        if not isinstance(value, Mapping):
            msg = f"sparsegpt: {argument} is {type(value).__name__}, expected a mapping of names"
            raise TypeError(msg)
    masks: dict[str, Any] = {}
    new: dict[str, Any] = {}
    for name, weight in weights.items():
        W, H = _working_copies(name, weight, hessians.get(name))
        U = _inverse_factor(name, W, H, damping)
        masks[name] = _prune_columns(W, U, sparsity, pattern, width)
        W[~masks[name]] = 0
        new[name] = W.to(weight.dtype) if is_tensor(W) else W.astype(weight.dtype)
    return masks, new


def _prune_columns(W: Any, U: Any, sparsity: float, pattern: Pattern, width: int) -> Any:
    """Prune block by block; `W` becomes the new weights, where they are kept."""
    mask = full_mask(W, kept=True)
    rows, columns = W.shape
    for begin in range(0, columns, width):
        end = min(begin + width, columns)
        if isinstance(pattern, NM):
            _undo_in_block(W, U, mask, begin, end, pattern)
            continue
        pruned = round(sparsity * rows * end) - round(sparsity * rows * begin)
        scores = _scores(W[:, begin:end], U, begin).reshape(1, -1)
        best = top_of_rows(scores, rows * (end - begin) - pruned)
        mask[:, begin:end] = best.reshape(rows, end - begin)
        _undo_in_block(W, U, mask, begin, end, None)
    return mask


def _undo_in_block(W: Any, U: Any, mask: Any, begin: int, end: int, groups: NM | None) -> None:
    """Hand each pruned weight's error on: within the block by columns, then to all after it."""
    # Transposed, because a column is then one piece of memory.
    columns = W[:, begin:end].T
    columns = columns.contiguous() if is_tensor(columns) else columns.copy()
    errors = columns * 0
    for j in range(end - begin):
        if groups is not None and j % groups.m == 0:
            stop = min(j + groups.m, end - begin)
            scores = _scores(columns[j:stop].T, U, begin + j)
            best = top_of_rows(scores, min(groups.n, stop - j))
            mask[:, begin + j : begin + stop] = best
        row = U[begin + j, begin + j : end]
        errors[j] = columns[j] * ~mask[:, begin + j] / row[0]
        columns[j:] -= row[:, None] * errors[j]
    W[:, begin:end] = columns.T
    W[:, end:] -= errors.T @ U[begin:end, end:]


def _scores(weights: Any, U: Any, begin: int) -> Any:
    """Return the loss that pruning each weight of the columns from `begin` on would leave."""
    return (weights / U.diagonal()[begin : begin + weights.shape[1]]) ** 2


def _inverse_factor(name: str, W: Any, H: Any, damping: float) -> Any:
    """Return the upper triangular U with U^T U = H^-1; dead columns of `W` become zero."""
    diagonal = H.reshape(-1)[:: H.shape[0] + 1]  # a view
    dead = diagonal == 0
    alive = max(int((~dead).sum()), 1)
    diagonal += damping * float(diagonal.sum()) / alive
    diagonal[dead] = 1
    W[:, dead] = 0
    torch = torch_or_none()
    try:
        if torch is not None and is_tensor(H):
            M = torch.linalg.cholesky(H.flip(0, 1)).flip(0, 1)
            eye = torch.eye(len(H), dtype=H.dtype, device=H.device)
            return torch.linalg.solve_triangular(M, eye, upper=True)
        M = np.linalg.cholesky(H[::-1, ::-1])[::-1, ::-1]
        return np.triu(np.linalg.inv(M))
    except (np.linalg.LinAlgError, RuntimeError) as fault:
        msg = (
            f"sparsegpt: hessians[{name!r}] is not positive definite in {H.dtype} with "
            f"damping={damping}: {fault}; expected 2 X X^T / n of real inputs, or more damping"
        )
        raise ValueError(msg) from fault


def _working_copies(name: str, weight: Any, hessian: Any) -> tuple[Any, Any]:
    if hessian is None:
        msg = f"sparsegpt: hessians has none for {name!r}"
        raise ValueError(msg)
    arrays = {f"weights[{name!r}]": weight, f"hessians[{name!r}]": hessian}
    is_wide = any(str(getattr(a, "dtype", "")).endswith("float64") for a in arrays.values())
    dtype = "float64" if is_wide else "float32"
    W, H = (_working_copy(*item, dtype) for item in arrays.items())
    if is_tensor(W) != is_tensor(H) or W.ndim != 2 or tuple(H.shape) != 2 * (W.shape[1],):
        msg = (
            f"sparsegpt: {name!r} has a {type(weight).__name__} of shape {tuple(weight.shape)} and "
            f"a {type(hessian).__name__} of shape {tuple(hessian.shape)} as its Hessian, expected "
            "both of one kind, (out, in) and (in, in)"
        )
        raise ValueError(msg)
    return W, H


def _working_copy(name: str, array: Any, dtype: str) -> Any:
    torch = torch_or_none()
    if torch is not None and is_tensor(array):
        is_floating = array.is_floating_point()
    else:
        is_floating = isinstance(array, np.ndarray) and array.dtype.kind in "fV"
    if not is_floating:
        found = getattr(array, "dtype", "")
        msg = f"sparsegpt: {name} is {type(array).__name__} {found}, expected floating point"
        raise TypeError(msg)
    if torch is not None and is_tensor(array):
        # contiguous_format: of a transposed weight, too, columns are then written in place.
        layout = torch.contiguous_format
        copy = array.detach().to(getattr(torch, dtype), copy=True, memory_format=layout)
    else:
        copy = array.astype(dtype, order="C")
    if not bool((abs(copy) < math.inf).all()):
        msg = f"sparsegpt: {name} has NaN or infinity, expected finite numbers"
        raise ValueError(msg)
    return copy


def _checked_width(sparsity: float, pattern: Pattern, block: int, damping: float) -> int:
    """Return the columns of a block, after checks of what has nothing to do with the arrays."""
    checked_sparsity(sparsity, caller="sparsegpt")
    is_groups = isinstance(pattern, NM) and pattern == NM(pattern.n, pattern.m)
    wrong = {
        f"block is {block!r}, expected an integer of at least 1": type(block) is not int
        or block < 1,
        f"damping is {damping!r}, expected at least 0": not is_real(damping)
        or not 0 <= damping < math.inf,
        f"pattern is {pattern}, expected Unstructured() or NM(n, m) along the last axis": not (
            is_groups or pattern == ANY_POSITION
        ),
    }
    for message, is_wrong in wrong.items():
        if is_wrong:
            msg = f"sparsegpt: {message}"
            raise ValueError(msg)
    if not isinstance(pattern, NM):
        return block
    if not math.isclose(sparsity, pattern.sparsity):
        msg = f"sparsegpt: sparsity is {sparsity}, but {pattern} has exactly {pattern.sparsity}"
        raise ValueError(msg)
    return max(block // pattern.m, 1) * pattern.m
