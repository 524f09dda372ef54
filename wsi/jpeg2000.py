"""JPEG 2000 tiles of whole-slide scanners: what their codestream says, and their pixels."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..errors import ReadFailed

Pixels = NDArray[np.uint8]
Packed = bytes | memoryview

START = b"\xff\x4f\xff\x51"
"""Start of the codestream, and of the segment that states its size."""

SCALES = (1,)
"""Reductions while decoding: none.

The coarser image inside the codestream is no average: its px lie on every second px, not between
them. Mean difference from the exact average at half scale, on tissue (CMU-1 and P-2, 5/3 without
loss and 9/7 at 30 to 40 dB): 3.0 to 6.4 grey values of 255, at a quarter 7.4 to 12.3. Moved by half
a px with the four taps that fit best it is still 0.4 to 3.0 and 0.3 to 1.4 off. Moreover the only
binding with wheels that reduces, Pillow's, lets no other thread decode meanwhile.
"""


@dataclass(frozen=True)
class Jpeg2000Codec:
    """Tiles that are JPEG 2000 codestreams of three components of 8 bits, none of them subsampled.

    Attributes:
        tile: (width, height) in px.
        ycbcr: whether the components are YCbCr although the codestream does not say so (Aperio 33003).

    OpenJPEG decodes them here and in OpenSlide, so that pixels are equal: on tissue, without
    loss and at 30 to 40 dB, not one differed. The irreversible wavelet is computed in floating point
    and may round another way, by one grey value, where a build uses other instructions.
    """

    tile: tuple[int, int]
    ycbcr: bool

    def decode(self, data: Packed, scale: int, out: Pixels) -> None:
        import imagecodecs

        if scale != 1 or not self.scales(data):
            raise ReadFailed("A tile that is no JPEG 2000 of the size stated.")
        try:
            imagecodecs.jpeg2k_decode(bytes(data), out=out)
        except (RuntimeError, ValueError):
            raise ReadFailed("A tile that is no JPEG 2000.") from None
        if self.ycbcr:
            to_rgb(out)

    def scales(self, data: Packed) -> tuple[int, ...]:
        """By how much tiles like this one can be reduced; empty unless it is what is decoded here."""
        width, height = self.tile
        header = bytes(data[4:51])
        plain = bytes([7, 1, 1]) * 3
        if data[:4] != START or len(header) < 47:
            return ()
        size = struct.pack(">4I", width, height, 0, 0)
        return SCALES if header[4:20] == size and header[36:] == b"\0\3" + plain else ()


def to_rgb(pixels: Pixels) -> None:
    """YCbCr to RGB in place, (H, W, 3): the equations of JFIF, rounded half up, as OpenSlide does it."""
    luma, cb, cr = (pixels[..., i] for i in range(3))
    red, green, blue = _chroma()
    y = luma.astype(np.int16)
    for channel, plane in enumerate((y + red[cr], y + green[cb, cr], y + blue[cb])):
        pixels[..., channel] = plane.clip(0, 255)


@lru_cache(maxsize=1)
def _chroma() -> tuple[NDArray[np.int16], NDArray[np.int16], NDArray[np.int16]]:
    """What chroma adds to red (by Cr), green (by Cb and Cr) and blue (by Cb)."""
    chroma, half = np.arange(-128, 128), 1 << 15
    red, blue = ((round(factor * (1 << 16)) * chroma + half) >> 16 for factor in (1.402, 1.772))
    green = (50_000 - 34_414 * chroma[:, None] - 71_414 * chroma) // 100_000
    return red.astype(np.int16), green.astype(np.int16), blue.astype(np.int16)
