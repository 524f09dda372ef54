"""Which directories of a tiled TIFF are the levels of a slide, and how large its pixels are.

For files that OpenSlide cannot see as a whole: those behind a URL, and OME-TIFFs whose lower levels
hang below the first. What OpenSlide says of the others is not doubted.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .levels import make_levels, true_downsample
from .quiet import silent_tifffile
from .reader import Facts, parse_number, parse_power
from .tiff_facts import BROKEN_TIFF, MAX_PAGES, NDPI
from .tile_table import TileTable, UnusualLayoutError, table_of

XMP, SOFTWARE, SUB_DIRECTORIES, ICC = 700, 305, 330, 34675
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 282, 283, 296
REDUCED = 1
"""Bit of the subfile type: a directory says that it shows another one smaller."""

UM_PER_UNIT = {2: 25_400.0, 3: 10_000.0}
"""Of TIFF's resolution: inch, centimetre."""

UM = {"nm": 1e-3, "µm": 1.0, "um": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6}
"""Of OME's physical sizes; without a unit they are µm."""

OTHERS = {
    (270, "www.leica-microsystems.com/scn"): "a Leica SCN file",
    (SOFTWARE, "Philips"): "a Philips file",
    (SOFTWARE, "MedScan"): "a Trestle file",
    (XMP, "iScan"): "a Ventana file",
}
"""Tags and words in them by which one knows files whose levels are not plain directories."""


def read_pyramid(file: Path | BinaryIO) -> tuple[Facts, tuple[TileTable, ...]]:
    """Facts and tables of a slide of Aperio's, of an OME-TIFF or of any plain pyramid.

    Raises:
        UnusualLayoutError: it is none of these, or not made of plain tiles of 8-bit colours.
    """
    from tifffile import TiffFile

    try:
        with silent_tifffile(), TiffFile(file) as tiff:
            pages = list(itertools.islice(tiff.pages, MAX_PAGES))
            return _pyramid(pages)
    except BROKEN_TIFF:
        raise UnusualLayoutError("its directories cannot be indexed") from None


def is_ome(path: Path) -> bool:
    """Whether a TIFF is an OME-TIFF whose levels hang below its first directory."""
    from tifffile import TiffFile

    try:
        with silent_tifffile(), TiffFile(path) as tiff:
            first = tiff.pages[0]
            return "<OME" in _text(first, 270) and SUB_DIRECTORIES in first.tags
    except BROKEN_TIFF:
        return False


def _pyramid(pages: list[Any]) -> tuple[Facts, tuple[TileTable, ...]]:
    tiled = [page for page in pages if page.is_tiled]
    if not tiled:
        raise UnusualLayoutError("no picture in tiles")
    base = max(tiled, key=lambda page: page.imagewidth * page.imagelength)
    text, kind = _text(base, 270), _kind(pages[0])
    levels = [base, *_lower(base, tiled, kind)]
    tables = tuple(table_of(page) for page in levels)
    mpp, power = _resolution(base), None
    if kind == "aperio":
        mpp = (_aperio(text, "MPP"),) * 2
        power = parse_power(_aperio(text, "AppMag"))
    elif kind == "ome-tiff":
        mpp = _ome_mpp(_text(pages[0], 270), tables[0].size) or mpp
    sizes = make_levels([table.size for table in tables])
    return Facts(kind, sizes, mpp, _bounds(tables[0]), power, icc=_profile(base)), tables


def _bounds(table: TileTable) -> tuple[float, float, float, float] | None:
    """Around the tiles that are there, as OpenSlide states it of a TIFF; None if that is everything."""
    present = table.counts.reshape(-1, table.columns) > 0
    if not present.any():
        return None
    rows, columns = (np.flatnonzero(present.any(axis)) for axis in (1, 0))
    left, top = int(columns[0]) * table.tile[0], int(rows[0]) * table.tile[1]
    right = min((int(columns[-1]) + 1) * table.tile[0], table.size[0])
    bottom = min((int(rows[-1]) + 1) * table.tile[1], table.size[1])
    found = (float(left), float(top), float(right - left), float(bottom - top))
    return None if found == (0.0, 0.0, *map(float, table.size)) else found


def _kind(first: Any) -> str:
    """The format, as OpenSlide names it where it knows it.

    Raises:
        UnusualLayoutError: a format whose levels are not plain directories.
    """
    if NDPI in first.tags:
        raise UnusualLayoutError("a Hamamatsu file")
    for (tag, word), name in OTHERS.items():
        if word in _text(first, tag):
            raise UnusualLayoutError(name)
    text = _text(first, 270)
    if text.startswith("Aperio"):
        return "aperio"
    return "ome-tiff" if "<OME" in text else "generic-tiff"


def _text(page: Any, tag: int) -> str:
    value = page.tags[tag].value if tag in page.tags else ""
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _profile(page: Any) -> bytes:
    value = page.tags[ICC].value if ICC in page.tags else b""
    return bytes(value)


def _lower(base: Any, tiled: list[Any], kind: str) -> Iterator[Any]:
    """The same picture smaller, finest first. Aperio's levels do not say that they are."""
    hanging = base.pages if base.subifds else ()
    beside = [page for page in tiled if kind == "aperio" or page.subfiletype & REDUCED]
    found = [page for page in (*hanging, *beside) if page is not base and _shows(base, page)]
    yield from sorted(found, key=lambda page: -page.imagewidth)


def _shows(base: Any, page: Any) -> bool:
    """Whether a directory is reduced from another by the same factor on both axes, to within a px."""
    full, size = ((p.imagewidth, p.imagelength) for p in (base, page))
    if not page.is_tiled or page.imagewidth >= base.imagewidth:
        return False
    x, y = true_downsample(full, size)
    return bool(abs(full[1] / x - size[1]) <= 1 and abs(full[0] / y - size[0]) <= 1)


def _resolution(page: Any) -> tuple[object, object]:
    unit = UM_PER_UNIT.get(int(page.tags[RESOLUTION_UNIT].value) if RESOLUTION_UNIT in page.tags else 2)
    return tuple(_um(page, tag, unit) for tag in (X_RESOLUTION, Y_RESOLUTION))  # type: ignore[return-value]


def _um(page: Any, tag: int, unit: float | None) -> float | None:
    numerator, denominator = page.tags[tag].value if tag in page.tags else (0, 1)
    return unit * denominator / numerator if unit and numerator and denominator else None


def _aperio(text: str, key: str) -> str | None:
    found = re.search(rf"\|\s*{key}\s*=\s*([^|]*)", text)
    return found[1].strip() if found else None


def _ome_mpp(xml: str, size: tuple[int, int]) -> tuple[object, object] | None:
    """From the element of pixels of that size; None if it does not say. The XML is only searched."""
    for element in re.findall(r"<(?:\w+:)?Pixels\s[^>]*>", xml):
        said = dict(re.findall(r'(\w+)\s*=\s*"([^"]*)"', element))
        if (said.get("SizeX"), said.get("SizeY")) == tuple(map(str, size)):
            x, y = (_physical(said, axis) for axis in "XY")
            return (x, y) if x and y else None
    return None


def _physical(said: dict[str, str], axis: str) -> float | None:
    unit = UM.get(said.get(f"PhysicalSize{axis}Unit", "µm"))
    length = parse_number(said.get(f"PhysicalSize{axis}"))
    return length * unit if unit and length else None
