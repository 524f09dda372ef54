"""Tiled TIFFs whose compression OpenSlide does not know (WebP, JPEG XL, LERC, ...), through tiffslide."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ReadFailed, UnsupportedFormat
from .levels import make_levels
from .quiet import silent_tifffile
from .reader import Facts, LevelBox, Rgba, clip, parse_power, paste
from .tiff_facts import BROKEN_TIFF, CONVERT


class TiffSlideReader:
    """A `Reader` over a TiffSlide. The caller has checked that the file holds 8-bit RGB tiles.

    One thread at a time: tiffslide does not say that it may be shared.
    """

    def __init__(self, path: Path) -> None:
        from tiffslide import TiffSlide

        self._lock = threading.Lock()
        self._slide: Any = None
        try:
            with silent_tifffile():
                self._slide = TiffSlide(path)
                self._facts = _facts(self._slide)
                self._empty = _empty_tiles(self._slide)
        except BROKEN_TIFF:
            self.close()
            raise UnsupportedFormat("A tiled TIFF that tiffslide cannot read either.", CONVERT) from None

    @property
    def facts(self) -> Facts:
        return self._facts

    def read(self, box: LevelBox) -> Rgba:
        left, top, right, bottom = clip(box, self._facts.levels[box.level].size)
        if right == left or bottom == top:
            return np.zeros((box.height, box.width, 4), np.uint8)
        pixels = self._pixels(box.level, (left, top, right, bottom))
        canvas = paste(pixels, (left - box.x, top - box.y), box)
        self._clear_empty(canvas, box)
        return canvas

    def start(self, box: LevelBox) -> tuple[float, float]:
        return float(box.x), float(box.y)

    def close(self) -> None:
        with self._lock:
            if self._slide is not None:
                self._slide.close()
            self._slide = None

    def _pixels(self, level: int, box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
        left, top, right, bottom = box
        with self._lock:
            if self._slide is None:
                raise ReadFailed("The slide was closed.")
            corner, size = self._corner(level, left, top), (right - left, bottom - top)
            try:
                with silent_tifffile():
                    pixels = np.asarray(self._slide.read_region(corner, level, size, as_array=True))
            except BROKEN_TIFF:
                pixels = np.empty((0, 0, 0), np.uint8)
        if pixels.shape not in ((bottom - top, right - left, 3), (bottom - top, right - left, 4)):
            where = f"{right - left} x {bottom - top} px at ({left}, {top})"
            raise ReadFailed(f"Level {level}, {where} cannot be decoded.")
        return pixels

    def _corner(self, level: int, x: int, y: int) -> tuple[int, int]:
        """Level-0 px that tiffslide, which rounds down, maps to exactly this px of the level."""
        full, this = self._facts.levels[0].size, self._facts.levels[level].size
        return -(-x * full[0] // this[0]), -(-y * full[1] // this[1])

    def _clear_empty(self, canvas: Rgba, box: LevelBox) -> None:
        """tiffslide fills a tile of zero length with black; nothing was scanned there."""
        (tile_w, tile_h), tiles = self._empty[box.level]
        for x, y in tiles:
            left, top = x * tile_w - box.x, y * tile_h - box.y
            canvas[max(top, 0) : max(top + tile_h, 0), max(left, 0) : max(left + tile_w, 0)] = 0


def _facts(slide: Any) -> Facts:
    properties = slide.properties
    return Facts(
        format="tiff",
        levels=make_levels([(int(w), int(h)) for w, h in slide.level_dimensions]),
        mpp=(properties.get("tiffslide.mpp-x"), properties.get("tiffslide.mpp-y")),
        objective_power=parse_power(properties.get("tiffslide.objective-power")),
    )


def _empty_tiles(slide: Any) -> list[tuple[tuple[int, int], list[tuple[int, int]]]]:
    """Per level: the tile size in px, and (column, row) of every tile of zero length."""
    series = slide.ts_tifffile.series[slide.properties["tiffslide.series-index"] or 0]
    found = []
    for level in series.levels:
        page = level.keyframe
        columns = -(-page.imagewidth // page.tilewidth)
        empty = [divmod(i, columns)[::-1] for i, count in enumerate(page.databytecounts) if count == 0]
        found.append(((page.tilewidth, page.tilelength), empty))
    return found
