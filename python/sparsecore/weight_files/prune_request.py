"""What is asked of pruning a file: how far, in which pattern, and which of its weights."""

import math
import re
from dataclasses import dataclass, field

import numpy as np

from sparsecore.interop import Array
from sparsecore.pruning._numbers import checked_sparsity
from sparsecore.pruning.pattern import Pattern
from sparsecore.pruning.patterns import NM, Block, Channel, Filter, Unstructured
from sparsecore.weight_files.entry import Entry
from sparsecore.weight_files.weights import WeightFiles

__all__ = [
    "ALLOCATIONS",
    "SCORES",
    "Request",
    "parsed_pattern",
    "selected",
    "view",
    "view_shape",
]

ALLOCATIONS = ("uniform", "global", "er", "erk")
SCORES = ("magnitude", "lamp", "random")


@dataclass(frozen=True, slots=True)
class Request:
    """What to prune away.

    Attributes
    ----------
    sparsity : float
        Of all selected weights together, in [0, 1).
    pattern : Pattern
        Of weights with their outputs first, then their inputs, whatever order the file has: that
        of an `NM` has axis 1, along which is summed.
    allocation : str
        One of `ALLOCATIONS`.
    score : str
        One of `SCORES`.
    seed : int
        Of random scores.
    conv_columns : bool
        N:M of a convolution whose use the file does not say runs along the columns of its matrix,
        in_channels x kernel, and not along the input channels.

    Raises
    ------
    ValueError
        A sparsity outside [0, 1), or one that the pattern does not have; an allocation that is not
        uniform where the pattern fixes the counts.
    """

    sparsity: float
    pattern: Pattern = field(default_factory=Unstructured)
    allocation: str = "uniform"
    score: str = "magnitude"
    seed: int = 0
    conv_columns: bool = False

    def __post_init__(self) -> None:
        """Reject what has no meaning."""
        checked_sparsity(self.sparsity, caller="prune")
        fixed = self.pattern.sparsity
        if fixed is None:
            return
        if not math.isclose(fixed, self.sparsity):
            msg = f"prune: sparsity is {self.sparsity}, but {self.pattern} has exactly {fixed}"
            raise ValueError(msg)
        if self.allocation != "uniform":
            msg = (
                f"prune: allocation is {self.allocation}, but {self.pattern} fixes the count of "
                "each weight; expected uniform"
            )
            raise ValueError(msg)


def parsed_pattern(text: str) -> Pattern:
    """Return the pattern that a word means, of a weight with its outputs first, then its inputs.

    Raises
    ------
    ValueError
        Where it means none.

    Examples
    --------
    >>> parsed_pattern("2:4"), parsed_pattern("block:4x1"), parsed_pattern("filter")
    (NM(n=2, m=4, axis=1), Block(r=4, c=1), Filter())
    """
    plain: dict[str, Pattern] = {
        "unstructured": Unstructured(),
        "filter": Filter(),
        "channel": Channel(),
    }
    if text in plain:
        return plain[text]
    if found := re.fullmatch(r"(\d{1,6}):(\d{1,6})", text):
        return NM(int(found[1]), int(found[2]), axis=1)
    if found := re.fullmatch(r"block:(\d{1,6})x(\d{1,6})", text):
        return Block(int(found[1]), int(found[2]))
    msg = f"pattern is {text!r:.40}, expected unstructured, N:M, block:RxC, filter or channel"
    raise ValueError(msg)


# ---- which weights ----


def selected(
    weights: WeightFiles, request: Request, *, where: str | None = None, skip: str | None = None
) -> tuple[list[str], dict[str, str]]:
    """Return the weights that are pruned, and why others that `where` names are not.

    Those of two or four axes and a floating dtype. Of an ONNX graph those that an operator
    multiplies by; one whose use the graph hides only where `where` is given.

    Parameters
    ----------
    where, skip : str, optional
        Regular expressions, searched for in names: only these; not these.

    Raises
    ------
    ValueError
        Where none is left, or an expression is not regular.
    """
    wanted, unwanted = _compiled("where", where), _compiled("skip", skip)
    names, reasons = [], {}
    for name, entry in weights.items():
        if (wanted and not wanted.search(name)) or (unwanted and unwanted.search(name)):
            continue
        if len(entry.shape) not in (2, 4) or not re.match("b?float", entry.dtype):
            continue
        reason = _reason(weights, entry, request, is_named=where is not None)
        if reason is None:
            names.append(name)
        else:
            reasons[name] = reason
    if not names:
        what = (
            f"; {next(iter(reasons))!r} is not: {next(iter(reasons.values()))}" if reasons else ""
        )
        msg = f"{weights.path}: no weight to prune: none of two or four axes is selected{what}"
        raise ValueError(msg)
    return names, reasons


def _compiled(option: str, expression: str | None) -> re.Pattern[str] | None:
    try:
        return None if expression is None else re.compile(expression)
    except (re.error, RecursionError, OverflowError) as fault:
        msg = f"prune: {option} is {expression!r:.80}, no regular expression: {fault}"
        raise ValueError(msg) from fault


def _reason(weights: WeightFiles, entry: Entry, request: Request, *, is_named: bool) -> str | None:
    """Say why a weight stays as it is; None where it is pruned."""
    if entry.tied_to is not None:
        return f"tied to {entry.tied_to}"
    if weights.kind == "onnx" and entry.use is None and not is_named:
        return "no product of the graph is seen to take it"
    if not entry.is_readable:
        return f"stored as {entry.stored}, {entry.dtype}"
    if not entry.size:
        return "it has no entries"
    return request.pattern.obstacle(view_shape(entry, request))


def view(entry: Entry, request: Request, array: Array) -> Array:
    """Return a weight, or what is said of each entry, with its outputs first, then its inputs.

    The file says which axis is which; where it does not, that is how torch has them.
    """
    if request.conv_columns and entry.use is None and array.ndim == 4:
        return array.reshape(array.shape[0], -1)
    is_turned = entry.use is not None and entry.use.reduction_axis == 0
    return array.swapaxes(0, 1) if is_turned else array


def view_shape(entry: Entry, request: Request) -> tuple[int, ...]:
    """Return the shape of a weight as `view` has it."""
    return view(entry, request, np.broadcast_to(np.False_, entry.shape)).shape
