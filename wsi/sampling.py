"""Any region of a slide at any size, read in blocks of bounded memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..geometry import Region
from .levels import choose_level
from .reader import LevelBox, Reader, Rgba
from .resample import Box, margin, on_white, resize

BLOCK_PX = 2 << 20
"""Source px held at a time: 2 Mpx, some 50 MB with every copy that resampling makes."""

FAR = 64.0
"""Beyond this many source px per output px, a finer image is made first and then averaged."""

SNAP = 1e-3
"""Px; closer to a whole pixel than this is floating-point noise, not geometry."""


@dataclass(frozen=True)
class Sample:
    """A region as pixels.

    Attributes:
        rgb: uint8 (H, W, 3), on white where nothing was scanned.
        coverage: uint8 (H, W), how much of each pixel was scanned, 255 for all of it.
        scanned: whether any source pixel of the region was.
    """

    rgb: NDArray[np.uint8]
    coverage: NDArray[np.uint8]
    scanned: bool


@dataclass(frozen=True)
class _Window:
    """A fractional box of one level, wanted at a size."""

    level: int
    box: Box
    out: tuple[int, int]

    @property
    def scale(self) -> tuple[float, float]:
        left, top, right, bottom = self.box
        return (right - left) / self.out[0], (bottom - top) / self.out[1]

    def halves(self) -> tuple[int, _Window, _Window]:
        """The array axis cut (1 across the width, 0 across the height) and both parts."""
        left, top, right, bottom = self.box
        (w, h), (sx, sy) = self.out, self.scale
        if w * sx >= h * sy and w > 1:
            x = left + (w // 2) * sx
            return (
                1,
                _Window(self.level, (left, top, x, bottom), (w // 2, h)),
                _Window(self.level, (x, top, right, bottom), (w - w // 2, h)),
            )
        y = top + (h // 2) * sy
        return (
            0,
            _Window(self.level, (left, top, right, y), (w, h // 2)),
            _Window(self.level, (left, y, right, bottom), (w, h - h // 2)),
        )


def sample(reader: Reader, region: Region, out_size: tuple[int, int]) -> Sample:
    """The region, from the nearest level at or below the wanted spacing, anti-aliased.

    Args:
        reader: decodes the pixels.
        region: level-0 px, fractional or not, may reach over the border or lie outside.
        out_size: (width, height) in px.

    Raises:
        ReadFailed: a part of it cannot be decoded.
    """
    (w, h), (ew, eh) = out_size, region.extent
    levels = reader.facts.levels
    level = choose_level(levels, (ew / w, eh / h))
    dx, dy = levels[level].downsample
    (x0, y0), (x1, y1) = region.origin, region.end
    return _sample(reader, _Window(level, (x0 / dx, y0 / dy, x1 / dx, y1 / dy), out_size))


def _sample(reader: Reader, window: _Window) -> Sample:
    (w, h), (sx, sy) = window.out, window.scale
    if max(sx, sy) > FAR:
        factor = (math.ceil(sx / FAR), math.ceil(sy / FAR))
        finer = _sample(reader, _Window(window.level, window.box, (w * factor[0], h * factor[1])))
        return Sample(_reduce(finer.rgb, factor), _reduce(finer.coverage, factor), finer.scanned)
    if w * sx * h * sy > BLOCK_PX and (w > 1 or h > 1):
        axis, *parts = window.halves()
        first, second = (_sample(reader, part) for part in parts)
        return Sample(
            np.concatenate([first.rgb, second.rgb], axis),
            np.concatenate([first.coverage, second.coverage], axis),
            first.scanned or second.scanned,
        )
    return _read_once(reader, window)


def _read_once(reader: Reader, window: _Window) -> Sample:
    left, top, right, bottom = (_snap(v) for v in window.box)
    inner = (math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom))
    if (left, top, right, bottom) == inner and (right - left, bottom - top) == window.out:
        pixels = _read(reader, window.level, inner)
        return Sample(on_white(pixels), pixels[..., 3], bool(pixels[..., 3].any()))
    outer = _with_margin(reader, window, inner)
    pixels = _read(reader, window.level, outer)
    ox, oy = reader.start(LevelBox(window.level, outer[0], outer[1], *_size(outer)))
    w, h = _size(outer)
    box = (max(left - ox, 0.0), max(top - oy, 0.0), min(right - ox, w), min(bottom - oy, h))
    inside = pixels[inner[1] - outer[1] : inner[3] - outer[1], inner[0] - outer[0] : inner[2] - outer[0], 3]
    if not inside.any():
        return _nothing(window.out)
    rgb = resize(np.ascontiguousarray(on_white(pixels)), box, window.out)
    return Sample(rgb, _coverage(pixels[..., 3], box, window.out), scanned=True)


def _nothing(out: tuple[int, int]) -> Sample:
    """White, without what the filter would draw in from beside the region."""
    w, h = out
    return Sample(np.full((h, w, 3), 255, np.uint8), np.zeros((h, w), np.uint8), scanned=False)


def _with_margin(
    reader: Reader, window: _Window, inner: tuple[int, int, int, int]
) -> tuple[int, int, int, int]:
    """The filter's surroundings, but never past the slide's border: white must not bleed in from there."""
    w, h = reader.facts.levels[window.level].size
    mx, my = (margin(s) for s in window.scale)
    left, top, right, bottom = inner
    return (
        max(left - mx, min(left, 0)),
        max(top - my, min(top, 0)),
        min(right + mx, max(right, w)),
        min(bottom + my, max(bottom, h)),
    )


def _read(reader: Reader, level: int, box: tuple[int, int, int, int]) -> Rgba:
    """The box of one level; the row or column that halving dropped repeats the last one kept."""
    full, this = reader.facts.levels[0], reader.facts.levels[level]
    short = [
        size if size < end <= math.ceil(whole / scale) else end
        for size, end, whole, scale in zip(this.size, box[2:], full.size, this.downsample, strict=True)
    ]
    w, h = max(short[0] - box[0], 1), max(short[1] - box[1], 1)
    x, y = min(box[0], short[0] - 1), min(box[1], short[1] - 1)
    pixels = reader.read(LevelBox(level, x, y, w, h))
    missing = (box[2] - box[0] - w, box[3] - box[1] - h)
    if any(missing):
        pixels = np.pad(pixels, ((0, missing[1]), (0, missing[0]), (0, 0)), mode="edge")
    return pixels


def _coverage(alpha: NDArray[np.uint8], box: Box, out_size: tuple[int, int]) -> NDArray[np.uint8]:
    if alpha.min() == 255:
        return np.full((out_size[1], out_size[0]), 255, np.uint8)
    return resize(np.ascontiguousarray(alpha), box, out_size)


def _reduce(pixels: NDArray[np.uint8], factor: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(pixels).reduce(factor))


def _snap(value: float) -> float:
    whole = round(value)
    return float(whole) if abs(value - whole) < SNAP else value


def _size(box: tuple[int, int, int, int]) -> tuple[int, int]:
    return box[2] - box[0], box[3] - box[1]
