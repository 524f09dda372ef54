"""Compressed tiles to pixels: pure functions of bytes."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from ..errors import ReadFailed
from .jpeg2000 import Jpeg2000Codec
from .tiff_facts import RGB
from .tile_table import JPEG, JPEG2000, JPEG2000_YCBCR, LOSSLESS, LZW, NONE, TileTable

Tile = NDArray[np.uint8]
Packed = bytes | memoryview

SOI, EOI, APP0, APP14 = b"\xff\xd8", b"\xff\xd9", b"\xff\xe0", b"\xff\xee"
SHARED = frozenset({0xDB, 0xC4, 0xDD, 0xCC})
"""Quantisation, Huffman, restart and arithmetic tables: all that tiles can share."""

SCALES = {"444": (1, 2, 4, 8), "420": (1, 2, 4, 8), "422": (1, 2)}
"""Reductions per chroma subsampling; any other is decoded whole.

Mean difference from the exact average of the full pixels, in grey values of 255, on tissue (CMU-1, P-2
and a drawn slide): 0.16 to 0.49 without subsampling, 0.37 to 0.66 for 4:2:0, 0.46 to 1.17 for 4:2:2 at
half scale. At a quarter and an eighth 4:2:2 is 1.7 to 2.6 off.

A patch whose px do not fall on whole px of the reduced level is moved there by the cubic of `resize`;
from the same cubic on the full pixels it differs by 0.6 to 2.2, where an average differs by 0.7 to 1.3.
"""


class Codec(Protocol):
    """Decodes one tile. Safe to call from several threads."""

    def decode(self, data: Packed, scale: int, out: Tile) -> None:
        """Into contiguous uint8 (tile height / scale, tile width / scale, 3).

        Raises:
            ReadFailed: the bytes are no tile of that size.
        """
        ...

    def scales(self, data: Packed) -> tuple[int, ...]:
        """By how much tiles like this one can be reduced, 1 first; empty if it is not what was stated."""
        ...


@dataclass(frozen=True)
class JpegCodec:
    """Tiles of one level, whose stream is put together from the tables they share and their own bytes.

    What the TIFF says of the colours holds, as in OpenSlide, whatever markers a tile may carry: the
    markers libjpeg would judge by are replaced by one that says it. Without it RGB whose components
    are numbered 0, 1, 2 would be taken for YCbCr.

    libjpeg-turbo's accurate integer DCT and smooth chroma upsampling are the ones OpenSlide uses, so
    that pixels at full scale are equal, not just alike. Smaller scales come from the low frequencies
    of each block of 8 x 8 px alone: centred where an average of the same pixels would be.
    """

    tile: tuple[int, int]
    head: bytes
    colours: str

    def decode(self, data: Packed, scale: int, out: Tile) -> None:
        width, height = self.tile
        stream = self.stream(data)
        try:
            if simplejpeg.decode_jpeg_header(stream)[:2] != (height, width):
                raise ReadFailed("A tile of another size than the file says.")
            smallest = {"min_height": height // scale, "min_width": width // scale}
            simplejpeg.decode_jpeg(stream, buffer=out, **smallest)
        except ValueError:
            raise ReadFailed("A tile that is no JPEG.") from None

    def stream(self, data: Packed) -> bytes:
        """The whole JPEG of one tile."""
        at = 2
        while data[at : at + 2] in (APP0, APP14):
            at += 2 + int.from_bytes(data[at + 2 : at + 4])
        return self.head + data[at:]

    def scales(self, data: Packed) -> tuple[int, ...]:
        """By the chroma subsampling that the tile itself states; empty unless its size and colours fit."""
        try:
            height, width, colours, subsampling = simplejpeg.decode_jpeg_header(self.stream(data))
        except ValueError:
            return ()
        fits = (width, height) == self.tile and colours == self.colours
        return SCALES.get(subsampling, (1,)) if fits else ()


@dataclass(frozen=True)
class PlainCodec:
    """Tiles that are the pixels themselves, or packed without loss by LZW or Deflate."""

    tile: tuple[int, int]
    compression: int
    predictor: int

    def decode(self, data: Packed, scale: int, out: Tile) -> None:
        width, height = self.tile
        pixels = np.frombuffer(self._unpack(data, width * height * 3), np.uint8)
        if scale != 1 or pixels.size != width * height * 3:
            raise ReadFailed("A tile of another size than the file says.")
        pixels = pixels.reshape(height, width, 3)
        if self.predictor == 2:
            np.add.accumulate(pixels, axis=1, dtype=np.uint8, out=out)
        else:
            out[:] = pixels

    def scales(self, data: Packed) -> tuple[int, ...]:  # noqa: ARG002 - they have no header to look at
        return (1,)

    def _unpack(self, data: Packed, length: int) -> Packed:
        if self.compression == NONE:
            return data[:length]
        if self.compression == LZW:
            return _lzw(data, length)
        try:
            return zlib.decompressobj().decompress(data, length)
        except zlib.error:
            raise ReadFailed("A tile that is not Deflate.") from None


@dataclass(frozen=True)
class ItemCodec:
    """Tiles that are items of a DICOM file, whose tag and length they begin with.

    A frame that was cut into several items has the others' headers among its bytes, at which the
    length shows it.
    """

    inner: Codec

    def decode(self, data: Packed, scale: int, out: Tile) -> None:
        if not _one_item(data):
            raise ReadFailed("A frame that is not one item.")
        self.inner.decode(data[8:], scale, out)

    def scales(self, data: Packed) -> tuple[int, ...]:
        return self.inner.scales(data[8:]) if _one_item(data) else ()


def codec_for(table: TileTable) -> Codec:
    """The codec of a level; the table has been checked to be one of those below."""
    codec = _codec(table)
    return ItemCodec(codec) if table.in_items else codec


def _codec(table: TileTable) -> Codec:
    if table.compression == JPEG:
        return JpegCodec(table.tile, _head(table), "RGB" if table.photometric == RGB else "YCbCr")
    if table.compression in (JPEG2000_YCBCR, JPEG2000):
        return Jpeg2000Codec(table.tile, table.compression == JPEG2000_YCBCR)
    assert table.compression in LOSSLESS
    return PlainCodec(table.tile, table.compression, table.predictor)


def _one_item(data: Packed) -> bool:
    """Whether the bytes are one item, but for the byte that makes its length even."""
    length = int.from_bytes(data[4:8], "little")
    return data[:4] == b"\xfe\xff\x00\xe0" and length - (len(data) - 8) in (0, 1)


def _head(table: TileTable) -> bytes:
    transform = 0 if table.photometric == RGB else 1
    adobe = APP14 + struct.pack(">H5sHHHB", 14, b"Adobe", 100, 0, 0, transform)
    return SOI + adobe + _shared(table.tables)


def _shared(tables: bytes) -> bytes:
    """The tables' segments without their start, end, colour markers and comments."""
    kept, at = b"", 2
    while at + 4 <= len(tables) and tables[at] == 0xFF and tables[at : at + 2] != EOI:
        end = at + 2 + int.from_bytes(tables[at + 2 : at + 4])
        if tables[at + 1] in SHARED:
            kept += tables[at:end]
        at = end
    return kept


def _lzw(data: Packed, length: int) -> bytes:
    import imagecodecs

    try:
        return bytes(imagecodecs.lzw_decode(bytes(data), out=length))
    except RuntimeError:
        raise ReadFailed("A tile that is not LZW.") from None
