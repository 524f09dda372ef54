"""What a TIFF holds, before any reader is trusted with it: that one opened it proves nothing."""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import Truncated
from .quiet import silent_tifffile

MAX_PAGES = 256
LOST_SHARE = 0.01
"""More tiles than this beyond the end of the file: it was cut short. Fewer: damaged tiles."""

BROKEN_TIFF = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
    EOFError,
    struct.error,
)
"""What TIFF parsers and decoders let through from hostile headers: they index, divide and unpack
whatever offsets and counts the file holds, and the codecs' own errors are RuntimeErrors."""

RGB, PALETTE, YCBCR = 2, 3, 6
COLOURS = {0: "grey", 1: "grey", RGB: "RGB", PALETTE: "palette", 5: "CMYK", YCBCR: "YCbCr", 8: "CIELab"}
NDPI = 65420
"""The tag of Hamamatsu's files, which beyond 4 GiB store offsets in a way of their own."""

CONVERT = "Convert it to a tiled, pyramidal TIFF with 8-bit RGB pixels."
BRIGHT_FIELD = (
    "Bright-field colour is read, of one plane: export what is wanted as a tiled, pyramidal TIFF "
    "with 8-bit RGB pixels."
)


@dataclass(frozen=True)
class TiffFacts:
    """Numbers from the first directory at full resolution, no text.

    `endless` says that the directories form a loop, or are more than anyone should follow.
    """

    tiled: bool
    bits: int
    samples: int
    photometric: int
    compression: int
    orientation: int
    unsigned: bool
    planar: bool
    decodable: bool
    endless: bool

    def problem(self) -> str | None:
        """Why this is not an 8-bit colour picture, as "a TIFF with ..."; None if it is."""
        colour = COLOURS.get(self.photometric, "unknown")
        if self.bits != 8 or not self.unsigned:
            kind = "" if self.unsigned else "signed or floating-point "
            return f"a TIFF with {self.bits}-bit {kind}{colour} pixels"
        if self.photometric not in (RGB, PALETTE, YCBCR):
            return f"a TIFF with 8-bit {colour} pixels"
        if self.samples not in ((1,) if self.photometric == PALETTE else (3, 4)):
            return f"a TIFF with {colour} pixels of {self.samples} samples"
        if self.planar:
            return "a TIFF with one plane per colour"
        if self.orientation != 1:
            return f"a TIFF with orientation {self.orientation}"
        return None if self.decodable else f"a TIFF with compression {self.compression}"


def inspect_tiff(path: Path) -> TiffFacts | None:
    """The facts; None if the directories cannot be parsed.

    Raises:
        Truncated: the first directory, or more than 1 % of the tiles, lie beyond the end.
    """
    from tifffile import TiffFile

    size = path.stat().st_size
    if _first_directory(path) >= size:
        raise Truncated("A TIFF that ends before its first directory.", "Copy the file again.")
    try:
        with silent_tifffile(), TiffFile(path) as tiff:
            pages = list(itertools.islice(tiff.pages, MAX_PAGES))
            cut = any(_lost_share(page, size) > LOST_SHARE for page in pages)
            endless = len(pages) == MAX_PAGES or len({page.offset for page in pages}) < len(pages)
            facts = _facts(_base(pages), endless) if pages else None
    except BROKEN_TIFF:
        return None
    if cut:
        raise Truncated(f"A TIFF whose pixels end beyond its {size} bytes.", "Copy the file again.")
    return facts


def _base(pages: list[Any]) -> Any:
    tiled = [page for page in pages if page.is_tiled]
    return max(tiled or pages[:1], key=lambda page: page.imagewidth * page.imagelength)


def _lost_share(page: Any, size: int) -> float:
    """The share of its tiles beyond the end; strips after the first directory are labels and macros."""
    if NDPI in page.tags or (not page.is_tiled and page.index > 0):
        return 0.0
    ends = [start + count for start, count in zip(page.dataoffsets, page.databytecounts, strict=False)]
    return float(sum(end > size for end in ends) / max(len(ends), 1))


def _facts(page: Any, endless: bool) -> TiffFacts:
    from tifffile import TIFF

    orientation = page.tags.get(274)
    bits = page.bitspersample
    return TiffFacts(
        tiled=bool(page.is_tiled),
        bits=max(bits) if isinstance(bits, tuple) else int(bits),
        samples=int(page.samplesperpixel),
        photometric=int(page.photometric),
        compression=int(page.compression),
        orientation=int(orientation.value) if orientation else 1,
        unsigned=int(page.sampleformat) == 1,
        planar=int(page.planarconfig) == 2 and int(page.samplesperpixel) > 1,
        decodable=int(page.compression) in TIFF.DECOMPRESSORS,
        endless=endless,
    )


def _first_directory(path: Path) -> int:
    """Byte offset of the first directory, 0 if the header is too strange to say."""
    with open(path, "rb") as file:
        header = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(header[:2], "<")
    try:
        if struct.unpack_from(order + "H", header, 2)[0] == 43:
            return int(struct.unpack_from(order + "Q", header, 8)[0])
        return int(struct.unpack_from(order + "I", header, 4)[0])
    except struct.error:
        return len(header)
