"""Where a slide keeps its compressed tiles, and how a tiled TIFF says so: read once, then plain numbers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .quiet import silent_tifffile
from .tiff_facts import BROKEN_TIFF, MAX_PAGES, RGB, YCBCR

NONE, LZW, JPEG, DEFLATE, OLD_DEFLATE = 1, 5, 7, 8, 32946
JPEG2000_YCBCR, JPEG2000 = 33003, 33005
"""JPEG 2000 codestreams, of which the first do not say that their components are YCbCr."""

LOSSLESS = frozenset({NONE, LZW, DEFLATE, OLD_DEFLATE})
MAX_TILE_PX = 4 << 20
"""A larger tile would make every patch on it cost its memory."""

WHOLE_TILE = 16
"""Tiles are multiples of this many px, so that blocks of 8 px end where tiles do."""


class UnusualLayoutError(Exception):
    """The tiles are better left to OpenSlide; says why without a word of the file."""


@dataclass(frozen=True)
class TileTable:
    """One level's tiles, row by row.

    Attributes:
        size: (width, height) of the level in px.
        tile: (width, height) of a tile in px; tiles at the far borders carry padding.
        offsets: int64 (N,), where in the file each tile begins, in bytes.
        counts: int64 (N,), its length; 0 where nothing was scanned.
        compression: the TIFF's number for it.
        photometric: 2 for RGB, 6 for YCbCr; JPEG 2000 tells by its compression instead.
        predictor: 1 for none, 2 for differences along a row.
        tables: the JPEG tables that all tiles share, empty where each has its own.
        in_items: whether each tile begins with the tag and length of the DICOM item that it is.
    """

    size: tuple[int, int]
    tile: tuple[int, int]
    offsets: NDArray[np.int64]
    counts: NDArray[np.int64]
    compression: int
    photometric: int
    predictor: int
    tables: bytes
    in_items: bool = False

    @property
    def columns(self) -> int:
        """Tiles in a row."""
        return -(-self.size[0] // self.tile[0])

    def cropped(self, size: tuple[int, int]) -> TileTable:
        """The tiles of a level that ends sooner.

        Raises:
            UnusualLayoutError: it does not.
        """
        if size == self.size:
            return self
        if size[0] > self.size[0] or size[1] > self.size[1]:
            raise UnusualLayoutError("a directory smaller than its level")
        columns, rows = (-(-side // tile) for side, tile in zip(size, self.tile, strict=True))
        inside = np.s_[:rows, :columns]
        offsets, counts = (list_.reshape(-1, self.columns)[inside] for list_ in (self.offsets, self.counts))
        return replace(self, size=size, offsets=offsets.ravel(), counts=counts.ravel())

    def moved(self, by: int) -> TileTable:
        """The same tiles so many bytes further on."""
        return replace(self, offsets=self.offsets + by)


def read_tables(path: Path, sizes: Sequence[tuple[int, int]], padded: bool = False) -> tuple[TileTable, ...]:
    """The tables of the levels with these sizes, in px; of other pictures in the file only the size is seen.

    `padded` says that directories state the size of their tiles together (Philips), which tells levels
    apart no longer: then each tiled directory is a level, in that order.

    Raises:
        UnusualLayoutError: a level is not exactly one tiled directory of 8-bit RGB or YCbCr tiles.
    """
    from tifffile import TiffFile

    try:
        with silent_tifffile(), TiffFile(path) as tiff:
            pages = [page for page in itertools.islice(tiff.pages, MAX_PAGES) if page.is_tiled]
            if padded and len(pages) != len(sizes):
                raise UnusualLayoutError(f"{len(pages)} tiled directories for {len(sizes)} levels")
            chosen = pages if padded else [_only(pages, size) for size in sizes]
            return tuple(table_of(page).cropped(size) for page, size in zip(chosen, sizes, strict=True))
    except BROKEN_TIFF:
        raise UnusualLayoutError("its directories cannot be indexed") from None


def _only(pages: list[Any], size: tuple[int, int]) -> Any:
    found = [page for page in pages if (page.imagewidth, page.imagelength) == size]
    if len(found) != 1:
        raise UnusualLayoutError(f"{len(found)} tiled directories have the size of one level")
    return found[0]


def table_of(page: Any) -> TileTable:
    """The table of one of tifffile's pages.

    Raises:
        UnusualLayoutError: it is not made of tiles that are decoded here.
    """
    table = TileTable(
        size=(int(page.imagewidth), int(page.imagelength)),
        tile=(int(page.tilewidth), int(page.tilelength)),
        offsets=np.array(page.dataoffsets, np.int64),
        counts=np.array(page.databytecounts, np.int64),
        compression=int(page.compression),
        photometric=int(page.photometric),
        predictor=int(page.predictor),
        tables=bytes(page.jpegtables or b""),
    )
    if problem := _problem(page, table):
        raise UnusualLayoutError(problem)
    check(table)
    return table


def check(table: TileTable) -> None:
    """That tiles and list of tiles are of sizes decoded here.

    Raises:
        UnusualLayoutError: they are not.
    """
    if any(side % WHOLE_TILE for side in table.tile) or not 0 < table.tile[0] * table.tile[1] <= MAX_TILE_PX:
        raise UnusualLayoutError(f"tiles of {table.tile[0]} x {table.tile[1]} px")
    rows = -(-table.size[1] // table.tile[1])
    if not len(table.offsets) == len(table.counts) == table.columns * rows:
        raise UnusualLayoutError("a list of tiles of the wrong length")


def _problem(page: Any, table: TileTable) -> str | None:
    """Why these tiles are not plain 8-bit colours in a compression decoded here; None if they are."""
    colours = (RGB,) if table.compression in LOSSLESS else (RGB, YCBCR)
    plain = (page.bitspersample, page.samplesperpixel, page.planarconfig, page.sampleformat) == (8, 3, 1, 1)
    upright = all(page.tags[tag].value == 1 for tag in (266, 274) if tag in page.tags)
    if table.compression not in (*LOSSLESS, JPEG, JPEG2000_YCBCR, JPEG2000):
        return f"compression {table.compression}"
    if not plain or not upright or page.imagedepth != 1:
        return "not three interleaved samples of 8 bits, upright"
    if table.photometric not in colours or table.predictor not in (1, 2):
        return f"photometric {table.photometric} with predictor {table.predictor}"
    return None
