"""From a file of weights to the facts of its layers, one weight at a time."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from math import prod

from sparsecore.diagnosis.counting import Counts, count
from sparsecore.diagnosis.facts import LayerFacts, LayerUse, bytes_of
from sparsecore.diagnosis.file_masks import Product, product_of_entries
from sparsecore.files.tensor_reading import DTYPES
from sparsecore.interop import VALUE_DTYPES, Array
from sparsecore.weight_files import Entry, Use, WeightFiles
from sparsecore.weight_files.onnx_zeros import nonzero_numbers
from sparsecore.weight_files.to_sparse import has_layer_axes, is_called_weight

__all__ = ["file_layers"]

_ITEMSIZES = {dtype.name: dtype.itemsize for dtype in DTYPES.values()}
_CONVOLUTIONS = ("Conv", "FusedConv", "ConvInteger", "QLinearConv", "ConvTranspose")
_COMPUTED = "it is computed in each forward (Mul)"
_PRODUCTS = ("Gemm", "MatMul", "MatMulInteger", "QLinearMatMul", "Linear")


def file_layers(
    files: WeightFiles,
    rows: Mapping[str, tuple[int, ...]],
    tell: Callable[[int, int, str], object],
) -> Iterator[LayerFacts]:
    """Yield what a file tells of each of its weights of two axes or more.

    Parameters
    ----------
    files : WeightFiles
        Each weight is read, counted and dropped before the next one.
    rows : mapping of str to tuple of int
        How often calls apply each weight, as far as that is known.
    tell : callable
        Called as ``tell(done, total, name)``.
    """
    entries = [e for e in files.values() if len(e.shape) >= 2 and e.tied_to is None]
    for done, entry in enumerate(entries):
        tell(done, len(entries), entry.name)
        product = product_of_entries(files, entry)
        if product is None:
            yield _facts(files, entry, rows.get(entry.name, ()))
        elif not product.is_mask:
            yield _facts(files, entry, (), product)
    tell(len(entries), len(entries), "")


def _facts(
    files: WeightFiles, entry: Entry, rows: tuple[int, ...], product: Product | None = None
) -> LayerFacts:
    size = prod(entry.shape)
    mask = None if product is None else product.mask
    numbers = _numbers(files, entry) if product is None else product.nonzero
    axis = None if entry.use is None else entry.use.reduction_axis
    counts = Counts(size, size, {}) if numbers is None else count(numbers, axis)
    itemsize = _ITEMSIZES.get(entry.dtype, entry.nbytes // max(size, 1))
    use = None if entry.use is None else _use(entry.use, entry.shape)
    if entry.is_looked_up:
        use = LayerUse("lookup", "Gather", macs=0)
    if use is not None and rows:
        use = replace(use, rows=rows, macs=sum(rows) * size)
    return LayerFacts(
        name=entry.name,
        shape=entry.shape,
        dtype=entry.dtype,
        stored=entry.stored,
        counts=counts,
        nbytes=bytes_of(entry.shape, counts.nonzeros, itemsize, entry.nbytes),
        use=use,
        masked=None if mask is None else True,
        mask=mask,
        obstacle=_COMPUTED if product is not None and mask is None else None,
        in_file=True,
        counted=numbers is not None,
        converts=_converts(files, entry),
        called_weight=is_called_weight(entry),
    )


def _numbers(files: WeightFiles, entry: Entry) -> Array | None:
    return nonzero_numbers(files, entry) if entry.is_readable else None


def _converts(files: WeightFiles, entry: Entry) -> bool:
    """Whether ``sparsecore convert`` stores a weight sparse, if that is smaller."""
    is_done = files.kind == "sparsecore" and any(one.is_sparse for one in files.values())
    is_able = has_layer_axes(entry) and entry.dtype in VALUE_DTYPES and entry.is_readable
    return is_able and not is_done


def _use(use: Use, shape: tuple[int, ...]) -> LayerUse:
    """Return a file's word for a use in this package's."""
    if use.operator in _CONVOLUTIONS or use.geometry is not None:
        return LayerUse(
            "convolution",
            use.operator,
            use.reduction_axis,
            groups=use.groups,
            kernel_size=shape[2:],
            transposed=use.operator == "ConvTranspose",
        )
    if use.operator not in _PRODUCTS:
        return LayerUse("fused", use.operator, use.reduction_axis)
    is_batch = len(shape) > 2 and prod(shape[:-2]) > 1
    return LayerUse("batched" if is_batch else "linear", use.operator, use.reduction_axis)
