"""Any region of a slide at any size, read in blocks of bounded memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..geometry import Region
from .plan import Window, plan, source_for
from .reader import Reader
from .resample import Box, average, on_white, resize

BLOCK_PX = 2 << 20
"""Source px held at a time: 2 Mpx, some 50 MB with every copy that resampling makes."""

FAR = 64.0
"""Beyond this many source px per output px, a finer image is made first and then averaged."""


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


def sample(reader: Reader, region: Region, out_size: tuple[int, int]) -> Sample:
    """The region, from the nearest level at or below the wanted spacing, anti-aliased.

    Args:
        reader: decodes the pixels.
        region: level-0 px, fractional or not, may reach over the border or lie outside.
        out_size: (width, height) in px.

    Raises:
        ReadFailed: a part of it cannot be decoded.
    """
    return _sample(reader, source_for(reader.facts, region.extent, out_size).window(region, out_size))


def in_one_piece(window: Window) -> bool:
    """Whether a window is small enough to be read at once."""
    return max(window.step) <= FAR and (window.px <= BLOCK_PX or window.out == (1, 1))


def _sample(reader: Reader, window: Window) -> Sample:
    (w, h), (sx, sy) = window.out, window.step
    if max(sx, sy) > FAR:
        factor = (math.ceil(sx / FAR), math.ceil(sy / FAR))
        finer = _sample(reader, window.part(window.box, (w * factor[0], h * factor[1])))
        return Sample(average(finer.rgb, factor), average(finer.coverage, factor), finer.scanned)
    if in_one_piece(window):
        return _read_once(reader, window)
    axis, *parts = window.halves()
    first, second = (_sample(reader, part) for part in parts)
    return Sample(
        np.concatenate([first.rgb, second.rgb], axis),
        np.concatenate([first.coverage, second.coverage], axis),
        first.scanned or second.scanned,
    )


def _read_once(reader: Reader, window: Window) -> Sample:
    how = plan(reader, window)
    pixels = reader.read(how.box)
    if any(how.repeat):
        pixels = np.pad(pixels, ((0, how.repeat[1]), (0, how.repeat[0]), (0, 0)), mode="edge")
    left, top, right, bottom = how.inner
    if not pixels[top:bottom, left:right, 3].any():
        return _nothing(window.out)
    if how.crop is None:
        return Sample(on_white(pixels), pixels[..., 3], scanned=True)
    rgb = resize(np.ascontiguousarray(on_white(pixels)), how.crop, window.out)
    return Sample(rgb, _coverage(pixels[..., 3], how.crop, window.out), scanned=True)


def _nothing(out: tuple[int, int]) -> Sample:
    """White, without what the filter would draw in from beside the region."""
    w, h = out
    return Sample(np.full((h, w, 3), 255, np.uint8), np.zeros((h, w), np.uint8), scanned=False)


def _coverage(alpha: NDArray[np.uint8], box: Box, out_size: tuple[int, int]) -> NDArray[np.uint8]:
    if alpha.min() == 255:
        return np.full((out_size[1], out_size[0]), 255, np.uint8)
    return resize(np.ascontiguousarray(alpha), box, out_size)
