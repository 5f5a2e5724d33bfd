"""2:4 by the definition: which two of four are kept, and the canonical bytes."""

import numpy as np

# The canonical layout's table: groups with fewer than two non-zeros follow torch.
NIBBLES = {
    (1, 1, 0, 0): 0x4,
    (1, 0, 1, 0): 0x8,
    (1, 0, 0, 1): 0xC,
    (0, 1, 1, 0): 0x9,
    (0, 1, 0, 1): 0xD,
    (0, 0, 1, 1): 0xE,
    (0, 0, 0, 0): 0xE,
    (1, 0, 0, 0): 0x8,
    (0, 1, 0, 0): 0x9,
    (0, 0, 1, 0): 0xE,
    (0, 0, 0, 1): 0xE,
}


def ceil(a: int, b: int) -> int:
    return -(-a // b)


def compressed_by_hand(W: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return values and metadata, group by group out of the table."""
    m, k = W.shape
    padded = np.zeros((m, ceil(k, 8) * 8), W.dtype)
    padded[:, :k] = W
    values = np.zeros((m, ceil(k, 4) * 2), W.dtype)
    metadata = np.zeros((m, ceil(k, 8)), np.uint8)
    for row in range(m):
        for group in range(ceil(k, 8) * 2):
            four = padded[row, 4 * group : 4 * group + 4]
            nibble = NIBBLES[tuple((four != 0).astype(int).tolist())]
            metadata[row, group // 2] |= nibble << (4 * (group % 2))
            for slot, place in enumerate((nibble & 3, nibble >> 2)):
                if four[place] != 0:
                    values[row, 2 * group + slot] = four[place]
    return values, metadata


def two_largest(W):
    """Return the mask by the definition: NaN first, then falling magnitude, then column."""
    W = np.abs(W.astype(np.float64))
    mask = np.zeros(W.shape, dtype=bool)
    for start in range(0, W.shape[1], 4):
        group = W[:, start : start + 4]
        order = np.lexsort((-group, ~np.isnan(group)), axis=1)  # stable
        np.put_along_axis(mask, start + order[:, :2], values=True, axis=1)
    return mask
