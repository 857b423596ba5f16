"""A grey picture as PNG bytes (ISO/IEC 15948): enough for a spectrogram, and no imaging library.

png = grey_png(pixels)      # pixels: uint8, shape (height, width), 0 = black
"""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
BIT_DEPTH, GREYSCALE = 8, 0
NO_FILTER = 0


def grey_png(pixels: NDArray[np.uint8]) -> bytes:
    """Raises ValueError for anything but a picture of at least one pixel."""
    if pixels.ndim != 2 or pixels.size == 0 or pixels.dtype != np.uint8:
        raise ValueError(f"need uint8 pixels of shape (height, width), not {pixels.dtype} of shape {pixels.shape}")
    height, width = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, BIT_DEPTH, GREYSCALE, 0, 0, 0)
    rows = np.pad(pixels, ((0, 0), (1, 0)), constant_values=NO_FILTER)
    body = zlib.compress(rows.tobytes(), 9)
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
