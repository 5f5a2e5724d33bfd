"""Hardware's layouts of 2:4 metadata: csrc/cuda/metadata_layouts.h against torch's own order."""

import numpy as np
import pytest

import sparsecore as sc

TILES = {
    "sm80_16bit": (32, 8),
    "sm80_8bit": (16, 16),
    "sm90_16bit_k32": (64, 8),
    "sm90_16bit_k64": (64, 16),
    "sm90_16bit_k128": (64, 32),
    "sm90_8bit_k64": (64, 16),
    "sm90_8bit_k128": (64, 32),
}


def nibbles_of(metadata):
    """Return each nibble of little-endian words as they lie in memory."""
    flat = np.ascontiguousarray(metadata).view(np.uint8)
    return np.stack([flat & 15, flat >> 4], axis=-1).reshape(len(flat), -1)


@pytest.mark.parametrize("layout", TILES)
def test_a_layout_moves_each_nibble_to_a_place_of_its_own(layout):
    rows, groups = TILES[layout]
    for shape in ((rows, groups), (3 * rows, 2 * groups)):
        positions = sc.cuda.metadata_positions(layout, shape)
        assert positions.shape == shape
        np.testing.assert_array_equal(np.sort(positions.ravel()), np.arange(positions.size))


@pytest.mark.parametrize(
    ("dtype", "layout"),
    [("float16", "sm80_16bit"), ("bfloat16", "sm80_16bit"), ("int8", "sm80_8bit")],
)
def test_torchs_order_for_cutlass(dtype, layout):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from torch.sparse._semi_structured_conversions import (
        sparse_semi_structured_from_dense_cutlass,
    )

    generator = torch.Generator().manual_seed(1)
    for rows, columns in ((32, 64), (64, 128), (96, 256)):
        W = torch.randint(-8, 8, (rows, columns), generator=generator).to(getattr(torch, dtype))
        S = sc.Sparse24.from_dense(W, prune=True)
        values, metadata = sparse_semi_structured_from_dense_cutlass(S.toarray())
        nibbles = nibbles_of(S.metadata.numpy())
        moved = np.empty(nibbles.size, np.uint8)
        moved[sc.cuda.metadata_positions(layout, nibbles.shape)] = nibbles
        np.testing.assert_array_equal(moved, nibbles_of(metadata.numpy()).ravel())
        assert torch.equal(values, S.values)


def test_torchs_order_of_one_in_two():
    """tf32: two columns a group, in the order of 16 bits."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from torch.sparse._semi_structured_conversions import (
        sparse_semi_structured_from_dense_cutlass,
    )

    second = np.random.default_rng(1).integers(0, 2, (64, 32))
    W = np.zeros((64, 64), np.float32)
    np.put_along_axis(W.reshape(64, 32, 2), second[..., None], 1, axis=2)
    _, metadata = sparse_semi_structured_from_dense_cutlass(torch.from_numpy(W))
    moved = np.empty(second.size, np.uint8)
    moved[sc.cuda.metadata_positions("sm80_16bit", second.shape)] = np.where(second, 0xE, 0x4)
    np.testing.assert_array_equal(moved, nibbles_of(metadata.numpy()).ravel())


def test_what_is_refused():
    with pytest.raises(ValueError, match="layout is 'sm70', expected one of sm80_16bit, sm80_8bit"):
        sc.cuda.metadata_positions("sm70", (32, 8))
    with pytest.raises(ValueError, match="31 rows of 8 groups, expected multiples of 32 and 8"):
        sc.cuda.metadata_positions("sm80_16bit", (31, 8))
    with pytest.raises(ValueError, match="-64 rows"):
        sc.cuda.metadata_positions("sm90_8bit_k64", (-64, 16))
