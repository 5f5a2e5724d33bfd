"""Whether the zeros of a model's weights are in an ONNX graph, however it holds the weights."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from sparsecore.interop import Array

__all__ = ["How", "WeightCheck", "check_zeros"]

How: TypeAlias = Literal["bits", "rows", "zeros"]


@dataclass(frozen=True, slots=True)
class WeightCheck:
    """One weight of the model, and where its zeros are in the graph.

    Attributes
    ----------
    name : str
        Of the torch parameter.
    shape : tuple of int
    zeros : int
        Exact zeros that it has, -0.0 too; all of them are zero in the graph.
    how : {"bits", "rows", "zeros"}
        "bits": an initializer has the same bits, as it is or transposed. "rows": the initializers
        have all of its rows, bit for bit, at other places, as where one matrix is split in three or
        a recurrent layer's gates come in another order.
        "zeros": the numbers were changed, as by a BatchNorm that was folded into them, and what was
        zero is zero. An initializer under another name then stands for one weight only, and for
        none where it has nothing but zeros and the weight has not.
    """

    name: str
    shape: tuple[int, ...]
    zeros: int
    how: How


def check_zeros(
    weights: Mapping[str, Array], initializers: Mapping[str, Array], *, where: str
) -> tuple[WeightCheck, ...]:
    """Find every weight that has zeros among the initializers of a graph.

    Parameters
    ----------
    weights : mapping of str to array
        By the names of the torch parameters; floating, two axes or more.
    initializers : mapping of str to array
        Of the graph; those that are constants in its nodes, too.
    where : str
        What the graph is, for the message.

    Returns
    -------
    tuple of WeightCheck
        One of each weight that has zeros.

    Raises
    ------
    ArithmeticError
        If zeros of a weight are not zero there, or nothing there can be the weight.

    Examples
    --------
    >>> W = np.array([[0.0, 2.0], [-0.0, 3.0]])
    >>> check_zeros({"fc.weight": W}, {"val_0": W.T.copy()}, where="the file")
    (WeightCheck(name='fc.weight', shape=(2, 2), zeros=2, how='bits'),)
    >>> check_zeros({"fc.weight": W}, {"fc.weight": W + 1e-9}, where="the file")
    Traceback (most recent call last):
    ArithmeticError: the file: 2 of 2 zeros of fc.weight are not zero
    """
    graph = _Graph(initializers, taken=weights)
    pruned = {name: weight for name, weight in weights.items() if _zeros(weight)}
    found = {name: graph.find(name, weight, where) for name, weight in pruned.items()}
    return tuple(
        WeightCheck(
            name, weight.shape, _zeros(weight), found[name] or graph.take(name, weight, where)
        )
        for name, weight in pruned.items()
    )


class _Graph:
    """The initializers, and their rows once they are asked for."""

    def __init__(self, arrays: Mapping[str, Array], *, taken: Iterable[str]) -> None:
        self._arrays = {name: array for name, array in arrays.items() if array.ndim >= 2}
        self._free = set(self._arrays).difference(taken)
        self._rows: set[bytes] | None = None

    def find(self, name: str, weight: Array, where: str) -> How | None:
        """Return how the graph holds a weight: its bits, its rows, or others under its name.

        None where it has none of these; raises ArithmeticError where what has its name lost zeros.
        """
        # Layers may have equal weights, which may be one initializer.
        same = {
            other
            for other in self._arrays
            if any(_same_bits(weight, form) for form in self._forms(other, weight))
        }
        self._free -= same
        if same:
            return "bits"
        if lost := [_lost(weight, form) for form in self._forms(name, weight)]:
            if (fewest := min(lost)) == 0:
                return "zeros"
            msg = f"{where}: {fewest:,} of {_zeros(weight):,} zeros of {name} are not zero"
            raise ArithmeticError(msg)
        return "rows" if self._has_rows_of(weight) else None

    def take(self, name: str, weight: Array, where: str) -> How:
        """Let an initializer that no other weight has stand for this one: that most like it.

        Raises ArithmeticError where there is none.
        """
        common = {
            other: max(_common(weight, form) for form in forms)
            for other in self._free
            if (forms := [f for f in self._forms(other, weight) if not _lost(weight, f)])
        }
        best = max(sorted(common), key=lambda other: common[other], default=None)
        if best is None or (common[best] == 0 and np.count_nonzero(weight)):
            msg = f"{where}: nothing there has the {_zeros(weight):,} zeros of {name}"
            raise ArithmeticError(msg)
        self._free.remove(best)
        return "zeros"

    def _forms(self, name: str, weight: Array) -> Iterator[Array]:
        """Yield an initializer as it is and transposed, where that has the weight's shape."""
        array = self._arrays.get(name)
        if array is None:
            return
        if array.shape == weight.shape:
            yield array
        if array.ndim == 2 and array.shape[::-1] == weight.shape:
            yield array.T

    def _has_rows_of(self, weight: Array) -> bool:
        if self._rows is None:
            forms = [form for array in self._arrays.values() for form in _as_matrices(array)]
            self._rows = {digest for form in forms for digest in _digests(form)}
        return all(digest in self._rows for digest in _digests(weight.reshape(len(weight), -1)))


def _as_matrices(array: Array) -> tuple[Array, ...]:
    """Return the ways in which the rows of a weight can lie in an array."""
    outer = array.reshape(len(array), -1)
    # A recurrent layer's have an axis for its directions first.
    inner = () if array.ndim == 2 else (array.reshape(-1, array.shape[-1]),)
    return (outer, outer.T, *inner)


def _same_bits(one: Array, other: Array) -> bool:
    """Whether all bits are the same: -0.0 is another zero than 0.0, NaN is equal to itself."""
    if one.dtype != other.dtype:
        return False
    return bool(np.array_equal(one, other, equal_nan=True)) and one.tobytes() == other.tobytes()


def _lost(weight: Array, other: Array) -> int:
    return int(np.count_nonzero(other[weight == 0]))


def _common(weight: Array, other: Array) -> int:
    return int(np.count_nonzero(other[weight != 0]))


def _zeros(weight: Array) -> int:
    return weight.size - int(np.count_nonzero(weight))


def _digests(matrix: Array) -> Iterator[bytes]:
    for row in matrix:
        yield hashlib.blake2b(row.tobytes(), digest_size=16).digest()
