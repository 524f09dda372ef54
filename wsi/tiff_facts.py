"""What a TIFF holds, before any reader is trusted with it: that one opened it proves nothing."""

from __future__ import annotations

import itertools
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError, LimitExceeded, Truncated, UnsupportedFormat
from .quiet import silent_tifffile
from .tiff_chain import Chain, follow

MAX_PAGES = 256
MAX_TILE_PX = 100_000_000
"""Whoever decodes a tile holds all of it, whatever part is wanted."""

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
PREMULTIPLIED, ALPHA = 1, 2
COLOURS = {0: "grey", 1: "grey", RGB: "RGB", PALETTE: "palette", 5: "CMYK", YCBCR: "YCbCr", 8: "CIELab"}
OME_CHARS = 1 << 20
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

    `kind` is "TIFF" or what kind of TIFF it is, `planes` how many pictures of full resolution it holds:
    channels, focal planes or points in time. `alpha` is what a fourth sample means, 0 if nobody knows.
    `cut` and `endless`: see `Chain`.
    """

    kind: str
    planes: int
    tiled: bool
    bits: int
    samples: int
    alpha: int
    photometric: int
    compression: int
    orientation: int
    unsigned: bool
    planar: bool
    decodable: bool
    cut: bool
    endless: bool

    def problem(self) -> str | None:
        """Why this is not an 8-bit colour picture, as "a TIFF with ..."; None if it is."""
        found = self._oddity()
        if found is None and self.planes == 1:
            return None
        article = "an" if self.kind.startswith(("O", "I", "N")) else "a"
        several = f"{self.planes} channels or planes" if self.planes > 1 else ""
        return f"{article} {self.kind} with {' and '.join(filter(None, (several, found)))}"

    @property
    def fix(self) -> str:
        """What would help."""
        grey = self.planes > 1 or COLOURS.get(self.photometric) == "grey"
        return BRIGHT_FIELD if grey else CONVERT

    def _oddity(self) -> str | None:
        colour = COLOURS.get(self.photometric, "unknown")
        if self.bits != 8 or not self.unsigned:
            kind = "" if self.unsigned else "signed or floating-point "
            return f"{self.bits}-bit {kind}{colour} pixels"
        if self.photometric not in (RGB, PALETTE, YCBCR):
            return f"8-bit {colour} pixels"
        if self.samples not in ((1,) if self.photometric == PALETTE else (3, 4)):
            return f"{colour} pixels of {self.samples} samples"
        if self.samples == 4 and self.alpha not in (PREMULTIPLIED, ALPHA):
            return "a fourth sample of unknown meaning"
        others = {
            "one plane per colour": self.planar,
            f"orientation {self.orientation}": self.orientation != 1,
            f"compression {self.compression}": not self.decodable,
        }
        return next((words for words, odd in others.items() if odd), None)


def inspect_tiff(path: Path) -> TiffFacts | None:
    """The facts; None if the directories cannot be parsed.

    Raises:
        Truncated: the first directory, or more than 1 % of the tiles, lie beyond the end.
        UnsupportedFormat: it has more tiles than it says the places of.
        LimitExceeded: one tile is larger than a picture may be.
    """
    from tifffile import TiffFile

    size, chain = path.stat().st_size, follow(path, MAX_PAGES)
    if chain.cut and not chain.offsets:
        raise Truncated("A TIFF that ends before its first directory.", "Copy the file again.")
    try:
        with silent_tifffile(), TiffFile(path) as tiff:
            pages = list(itertools.islice(tiff.pages, MAX_PAGES))
            fault = next(filter(None, (_fault(page, size) for page in pages)), None)
            facts = _facts(pages, _kind(tiff), chain) if pages else None
    except BROKEN_TIFF:
        return None
    if fault:
        raise fault
    return facts


def _base(pages: list[Any]) -> Any:
    tiled = [page for page in pages if page.is_tiled]
    return max(tiled or pages[:1], key=lambda page: page.imagewidth * page.imagelength)


def _fault(page: Any, size: int) -> InputError | None:
    """What is wrong with the list of its tiles; strips after the first directory are labels and macros."""
    if NDPI in page.tags or (not page.is_tiled and page.index > 0):
        return None
    spans = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    if page.is_tiled and page.tilewidth * page.tilelength > MAX_TILE_PX:
        return LimitExceeded(f"A TIFF with tiles of more than {MAX_TILE_PX // 1_000_000} Mpx.", CONVERT)
    if page.is_tiled and len(spans) < _tiles(page):
        return UnsupportedFormat("A TIFF that does not list all of its tiles.", "Copy the file again.")
    if sum(start + count > size for start, count in spans) > LOST_SHARE * len(spans):
        return Truncated(f"A TIFF whose pixels end beyond its {size} bytes.", "Copy the file again.")
    return None


def _tiles(page: Any) -> int:
    """How many cover it; the list has more where every colour has its own."""
    return -(-int(page.imagewidth) // int(page.tilewidth)) * -(-int(page.imagelength) // int(page.tilelength))


def _kind(tiff: Any) -> str:
    if tiff.is_ome:
        return "OME-TIFF"
    if tiff.is_qpi:
        return "QPTIFF"
    return "NDPI" if NDPI in tiff.pages.first.tags else "ImageJ TIFF" if tiff.is_imagej else "TIFF"


def _planes(pages: list[Any], kind: str) -> int:
    """By what its kind says of itself, else by the pictures that are as large as the base."""
    base, text = _base(pages), str(pages[0].description)
    if kind == "OME-TIFF" and (found := re.search(r"<(?:\w+:)?Pixels\b[^>]*>", text[:OME_CHARS])):
        sizes = {axis: int(n) for axis, n in re.findall(r'\bSize([ZCT])="(\d{1,6})"', found.group())}
        samples = int(base.samplesperpixel)
        return max(sizes.get("Z", 1) * sizes.get("T", 1) * (sizes.get("C", samples) // samples), 1)
    if kind == "NDPI":
        return 1  # OpenSlide leaves out those that are not in focus
    shape = base.is_tiled, base.imagewidth, base.imagelength
    return sum((page.is_tiled, page.imagewidth, page.imagelength) == shape for page in pages)


def _facts(pages: list[Any], kind: str, chain: Chain) -> TiffFacts:
    from tifffile import TIFF

    page = _base(pages)
    orientation = page.tags.get(274)
    bits = page.bitspersample
    return TiffFacts(
        kind=kind,
        planes=_planes(pages, kind),
        tiled=bool(page.is_tiled),
        bits=max(bits) if isinstance(bits, tuple) else int(bits),
        samples=int(page.samplesperpixel),
        alpha=int(page.extrasamples[0]) if page.extrasamples else 0,
        photometric=int(page.photometric),
        compression=int(page.compression),
        orientation=int(orientation.value) if orientation else 1,
        unsigned=int(page.sampleformat) == 1,
        planar=int(page.planarconfig) == 2 and int(page.samplesperpixel) > 1,
        decodable=int(page.compression) in TIFF.DECOMPRESSORS,
        cut=chain.cut,
        endless=chain.endless,
    )
