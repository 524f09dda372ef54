"""Small Aperio slides of JPEG 2000 tiles."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from . import jpeg_slides as js

Pixels = NDArray[np.uint8]
YCBCR, RGB = 33003, 33005


@dataclass(frozen=True)
class Layout:
    """`decibels` is the quality, None without loss; `chroma` how far Cb and Cr are subsampled, (x, y).

    `ycbcr_given` says that the pixels are YCbCr already.
    """

    compression: int = YCBCR
    tile: int = 256
    decibels: int | None = 40
    chroma: tuple[int, int] = (1, 1)
    missing: frozenset[int] = frozenset()
    ycbcr_given: bool = False


def write(path: Path, levels: list[Pixels], how: Layout) -> Path:
    """A pyramid at 0.5 µm per px as Aperio describes it; tiles at the far borders are padded with green."""
    with tifffile.TiffWriter(path) as tiff:
        for number, pixels in enumerate(levels):
            encoded = [encode(tile, how) for tile in js.tiles(pixels, how.tile)]
            missing = how.missing if number == 0 else ()
            tiff.write(
                iter([b"" if i in missing else tile for i, tile in enumerate(encoded)]),
                shape=pixels.shape,
                dtype=np.uint8,
                tile=(how.tile, how.tile),
                photometric="ycbcr" if how.compression == YCBCR else "rgb",
                subsampling=(1, 1) if how.compression == YCBCR else None,
                compression=how.compression,
                description="Aperio Image Library v11.0.0\r\n2220x2967 J2K|AppMag = 20|MPP = 0.5",
                metadata=None,
            )
    return path


def encode(tile: Pixels, how: Layout) -> bytes:
    """One codestream. YCbCr goes in as it is: nothing in it says what its components are."""
    if how.compression == RGB:
        options = {"reversible": how.decibels is None, "level": how.decibels}
        return bytes(imagecodecs.jpeg2k_encode(tile, codecformat="j2k", mct=True, **options))
    image = Image.fromarray(tile)
    luma, *chroma = (image if how.ycbcr_given else image.convert("YCbCr")).split()
    planes = [luma, *(plane.reduce(how.chroma) for plane in chroma)]
    if how.chroma != (1, 1):
        return _together([_plane(plane) for plane in planes], how.chroma)
    options = {"reversible": how.decibels is None, "level": how.decibels}
    return bytes(imagecodecs.jpeg2k_encode(np.dstack(planes), codecformat="j2k", mct=False, **options))


def _plane(plane: Image.Image) -> bytes:
    stream = io.BytesIO()
    plane.save(stream, "JPEG2000", no_jp2=True, progression="CPRL", num_resolutions=3)
    return stream.getvalue()


def _together(planes: list[bytes], chroma: tuple[int, int]) -> bytes:
    """Codestreams of one component each as one: in this progression their packets follow each other."""
    packets = b"".join(plane[plane.index(b"\xff\x93") + 2 : -2] for plane in planes)
    head = planes[0][: planes[0].index(b"\xff\x90")]
    sizes = head[6:40] + b"\0\3" + bytes([7, 1, 1, *(7, *chroma) * 2])
    rest = head[4 + int.from_bytes(head[4:6]) :]
    part = struct.pack(">2sHHIBB", b"\xff\x90", 10, 0, len(packets) + 14, 0, 1)
    head = head[:4] + struct.pack(">H", len(sizes) + 2) + sizes
    return head + rest + part + b"\xff\x93" + packets + b"\xff\xd9"
