"""Where NVIDIA's kernels have the nibbles of 2:4 metadata."""

from sparsecore import _core
from sparsecore.interop import Int64


def metadata_positions(layout: str, shape: tuple[int, int]) -> Int64:
    """Return where each nibble of canonical metadata lies in a layout of the hardware's.

    Parameters
    ----------
    layout : str
        "sm80_16bit" or "sm80_8bit", the orders of CUTLASS for ``mma.sp``; "sm90_16bit_k32",
        "..._k64", "..._k128", "sm90_8bit_k64" or "..._k128", those for ``wgmma.sp`` of a kernel
        whose tile has so many columns. tf32, which is 1:2, has the orders of 16 bits, a group being
        two columns there.
    shape : (rows, groups)
        Multiples of the layout's tiles: 32 rows x 8 groups, 16 x 16, or 64 x the tile's columns
        / 4.

    Returns
    -------
    (rows, groups) int64 array
        Nibble p is half p % 2 (the low one first) of byte p // 2 of the buffer.

    Raises
    ------
    ValueError
        For another layout, or a shape that is not whole tiles.

    References
    ----------
    PTX ISA, "Warp Level Matrix Instructions: mma.sp" and "Asynchronous Warpgroup Level Matrix
    Instructions: wgmma.mma_async.sp"; CUTLASS, host_reorder.h and sm90_sparse_config.inl.

    Examples
    --------
    In a word of 32 bits lie 16 columns of row 0 and, above them, of row 8:

    >>> import sparsecore as sc
    >>> positions = sc.cuda.metadata_positions("sm80_16bit", (32, 8))
    >>> positions[0, :4].tolist(), positions[8, :4].tolist()
    ([0, 1, 2, 3], [4, 5, 6, 7])
    """
    return _core.metadata_positions(layout, shape)
