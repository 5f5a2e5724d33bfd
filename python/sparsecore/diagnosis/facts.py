"""What is known of a layer before anything is concluded."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from sparsecore.diagnosis.counting import FLATTENED, Counts, axis_name
from sparsecore.formats.storage import csr_storage, sparse24_storage
from sparsecore.weight_files.entry import is_sparse_form

__all__ = ["Bytes", "Kind", "LayerFacts", "LayerUse", "Mask", "bytes_of"]

Kind: TypeAlias = Literal["linear", "convolution", "lookup", "batched", "fused"]


@dataclass(frozen=True, slots=True)
class LayerUse:
    """How a weight is used.

    Attributes
    ----------
    kind : {"linear", "convolution", "lookup", "batched", "fused"}
        A product with a matrix; a convolution; rows that are looked up; a product of a batch of
        matrices; an operator that does more than one product.
    operator : str
        What it is called: torch's operator, or that of the file.
    reduction_axis : int or None
        The axis of the weight that is summed over; 2:4 has to lie along it.
    groups : int
        Of a convolution.
    kernel_size : tuple of int
        Of a convolution; empty otherwise.
    transposed : bool
        Whether it is a transposed convolution.
    rows : tuple of int
        Of each call: how often it applies the weight (rows of a matrix, pixels of an image). Empty
        where that is not known.
    macs : int or None
        Multiplications of all calls, every weight as nonzero; None where that is not known.
    """

    kind: Kind
    operator: str
    reduction_axis: int | None = None
    groups: int = 1
    kernel_size: tuple[int, ...] = ()
    transposed: bool = False
    rows: tuple[int, ...] = ()
    macs: int | None = None


@dataclass(frozen=True, slots=True)
class Mask:
    """A mask that is applied to the weight in each forward.

    Attributes
    ----------
    how : str
        What applies it, as the end of "its mask is still applied in forward, ...".
    remedy : str
        What to do.
    can_be_removed : bool
        Whether torch has a function that does, and leaves a plain layer.
    """

    how: str
    remedy: str
    can_be_removed: bool = False


@dataclass(frozen=True, slots=True)
class Bytes:
    """Bytes of a weight: as it is stored, and as it would be.

    `sparse24` is what 2:4 takes whatever the zeros; None where the weight has fewer than two axes,
    as `csr` then is.
    """

    stored: int
    dense: int
    csr: int | None
    sparse24: int | None


@dataclass(frozen=True, slots=True)
class LayerFacts:
    """A layer's weight.

    Attributes
    ----------
    name : str
        Of the weight, as the model or the file has it.
    shape : tuple of int
        Dense.
    dtype : str
    stored : str
        "dense", "csr", "2:4", or what the file or torch calls another form.
    counts : Counts
    nbytes : Bytes
    use : LayerUse or None
        None where that is unknown without the model, or without an example.
    masked : bool or None
        Whether a mask is applied in forward; None where that is unknown.
    mask : Mask or None
    obstacle : str or None
        Why nothing can take the layer's place in the model.
    exchangeable : bool
        Whether ``sparsify_`` could exchange it: it is an nn.Linear or an nn.Conv2d.
    device : str
        "cpu", or a device of torch's.
    in_file : bool
        Whether it comes from a file, without the model.
    counted : bool
        Whether its entries could be read; if not, all count as nonzero.
    converts : bool
        Whether ``sparsecore convert`` has a sparse form for it, by its dtype and its axes: in a
        file only.
    called_weight : bool
        Whether it also has the name that convert asks for. No verdict depends on it, the advice
        does.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    stored: str
    counts: Counts
    nbytes: Bytes
    use: LayerUse | None = None
    masked: bool | None = None
    mask: Mask | None = None
    obstacle: str | None = None
    exchangeable: bool = True
    device: str = "cpu"
    in_file: bool = False
    counted: bool = True
    converts: bool = False
    called_weight: bool = True

    @property
    def sparsity(self) -> float:
        """The fraction that is zero."""
        return self.counts.sparsity

    @property
    def density(self) -> float:
        """The fraction that is not zero."""
        return 1 - self.sparsity

    @property
    def is_sparse(self) -> bool:
        """Whether it is stored sparse."""
        return is_sparse_form(self.stored)

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """Of the weight as a matrix: outputs, and what each sums up, as far as that is known."""
        axis = self.use.reduction_axis if self.use is not None else None
        if len(self.shape) == 2 and axis == 0:
            return (self.shape[1], self.shape[0])
        return (self.shape[0], math.prod(self.shape[1:])) if self.shape else (1, 1)

    @property
    def lines_24(self) -> tuple[str, ...]:
        """The keys of `counts.share_24` along which 2:4 would be of use; empty where unknown."""
        if self.use is None or self.use.reduction_axis is None:
            return ()
        if self.use.kind == "convolution":
            return (axis_name(self.use.reduction_axis), FLATTENED)
        return (axis_name(self.use.reduction_axis),)

    def is_24_along(self, line: str) -> bool | None:
        """Whether the zeros are 2:4 along a line; None where that was not counted.

        A line of one or two numbers is so whatever the zeros, which says nothing: it counts as not.
        """
        share = self.share_24.get(line)
        return None if share is None else share == 1.0 and self.line_length(line) > 2

    def line_length(self, line: str) -> int:
        """Return how many numbers a line of `counts.share_24` has."""
        if line == FLATTENED:
            return math.prod(self.shape[1:])
        return next(n for axis, n in enumerate(self.shape) if axis_name(axis) == line)

    @property
    def share_24(self) -> Mapping[str, float]:
        """See `Counts.share_24`."""
        return self.counts.share_24


def bytes_of(shape: tuple[int, ...], nonzeros: int, itemsize: int, stored: int) -> Bytes:
    """Return the bytes of a weight in all forms.

    Parameters
    ----------
    shape : tuple of int
        Of more than two axes, all but the first become one.
    nonzeros, itemsize, stored : int

    Examples
    --------
    >>> bytes_of((64, 64), 64, 4, 16384)
    Bytes(stored=16384, dense=16384, csr=385, sparse24=8704)
    """
    dense = math.prod(shape) * itemsize
    if len(shape) < 2:
        return Bytes(stored, dense, None, None)
    matrix = (shape[0], math.prod(shape[1:]))
    csr = csr_storage(matrix, nonzeros, itemsize).total
    return Bytes(stored, dense, csr, sparse24_storage(matrix, itemsize).total)
