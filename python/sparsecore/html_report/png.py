"""Small PNG pictures of one colour, more or less of it in each pixel."""

import base64
import struct
import zlib

import numpy as np
import numpy.typing as npt

__all__ = ["LEVELS", "data_uri", "png"]

LEVELS = 16
# Seen well on white as on black.
_COLOUR = (47, 132, 214)
_FAINTEST = 40  # of 255: what is not nothing is seen


def png(levels: npt.NDArray[np.uint8]) -> bytes:
    """Return a PNG file with a palette of four bits a pixel.

    Parameters
    ----------
    levels : (height, width) uint8
        0 is transparent, ``LEVELS - 1`` is the full colour. Neither side is 0.

    Returns
    -------
    bytes
        `PNG specification, third edition <https://www.w3.org/TR/png-3/>`_, section 11: IHDR, PLTE,
        tRNS, IDAT, IEND.
    """
    height, width = levels.shape
    header = struct.pack(">IIBBBBB", width, height, 4, 3, 0, 0, 0)
    alphas = np.linspace(_FAINTEST, 255, LEVELS - 1).round().astype(np.uint8)
    padded = np.zeros((height, width + width % 2), np.uint8)
    padded[:, :width] = levels
    rows = np.zeros((height, 1 + padded.shape[1] // 2), np.uint8)  # each begins with its filter: 0
    rows[:, 1:] = padded[:, ::2] << 4 | padded[:, 1::2]
    chunks = (
        (b"IHDR", header),
        (b"PLTE", bytes(_COLOUR) * LEVELS),
        (b"tRNS", b"\0" + alphas.tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def data_uri(levels: npt.NDArray[np.uint8]) -> str:
    """Return the picture as a ``data:`` address, for a page that holds everything itself."""
    return "data:image/png;base64," + base64.b64encode(png(levels)).decode("ascii")


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
