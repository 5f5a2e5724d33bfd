"""What a file says of one weight."""

from dataclasses import dataclass, field

from sparsecore.conv_geometry import ConvGeometry
from sparsecore.files.tensor_reading import DTYPES

__all__ = ["Entry", "Use", "is_sparse_form"]

_DTYPES = frozenset(dtype.name for dtype in DTYPES.values())
_FORMS = ("dense", "csr", "coo", "2:4", "bitmask")


def is_sparse_form(stored: str) -> bool:
    """Whether a word for how a weight is stored names a sparse form: ours, a file's or torch's.

    Examples
    --------
    >>> [is_sparse_form(word) for word in ("csr", "torch.sparse_coo", "dense", "quantized")]
    [True, True, False, False]
    """
    word = stored.removeprefix("torch.")
    return stored in _FORMS[1:] or word.startswith(("sparse", "SparseSemiStructuredTensor"))


@dataclass(frozen=True, slots=True)
class Use:
    """What an operator does with a weight.

    Attributes
    ----------
    operator : str
        As the file has it: "Conv", "Gemm", "MatMul" of ONNX; "Linear" and "Conv" of a sparse
        checkpoint.
    reduction_axis : int
        The axis of the weight, as it is stored, that is summed over; of a convolution that of the
        input channels. 2:4 has to lie along it.
    geometry : ConvGeometry or None
        Of a two-dimensional convolution whose padding is the same on both sides.
    groups : int
        Of a convolution; else 1.
    node : str
        The name of an ONNX node, or of its first output where it has none; else empty.
    result : str
        The first output of an ONNX node; else empty.
    zero_point : str
        The value of an ONNX graph that stands for zero among the weight's integers; else empty.

    Examples
    --------
    >>> use = Use("Gemm", reduction_axis=1, node="fc/Gemm")
    >>> use.operator, use.reduction_axis, use.groups
    ('Gemm', 1, 1)
    """

    operator: str
    reduction_axis: int
    geometry: ConvGeometry | None = None
    groups: int = 1
    node: str = field(default="", compare=False)
    result: str = field(default="", compare=False)
    zero_point: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Entry:
    """One weight of a file: its place in the model, and what it takes.

    Attributes
    ----------
    name : str
    shape : tuple of int
        Of the dense weight.
    dtype : str
        As numpy or ml_dtypes call it: "float32", "bfloat16". Where neither has it, the file's own
        word; such a weight is listed, but not read.
    nbytes : int
        Bytes in the file: values, and where it is sparse, indices. 0 where it is tied.
    stored : str
        "dense", "csr", "coo", "2:4" or "bitmask"; of what is listed only, what the file calls it.
    use : Use or None
        Of the first operator that multiplies by it. None where the file does not say: it is never
        guessed from names.
    other_uses : tuple of Use
        Of further operators.
    tied_to : str or None
        The name that it is stored under, where that is another one.
    is_looked_up : bool
        Whether an operator of the file looks its rows up, and none multiplies by it.
    factor : str
        The weight of the same shape that it is multiplied with, entry by entry; else empty.

    Examples
    --------
    >>> entry = Entry("fc.weight", (2, 3), "float32", 24, "dense")
    >>> entry.size, entry.use is None, entry.is_readable
    (6, True, True)
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    stored: str
    use: Use | None = None
    other_uses: tuple[Use, ...] = ()
    tied_to: str | None = None
    is_looked_up: bool = False
    factor: str = ""

    @property
    def is_readable(self) -> bool:
        """Whether its elements can be read; else it is listed only."""
        return self.dtype in _DTYPES and self.stored in _FORMS

    @property
    def is_sparse(self) -> bool:
        """Whether it is stored sparse, in a form that is read or another."""
        return is_sparse_form(self.stored)

    @property
    def size(self) -> int:
        """Number of its elements, were it dense."""
        size = 1
        for extent in self.shape:
            size *= extent
        return size
