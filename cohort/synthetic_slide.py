"""A planned slide as files: a pyramidal JPEG TIFF, and the mask of its focus."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from ..errors import DiskFull
from .synthetic_field import Mask
from .synthetic_paint import Painter, Pixels
from .synthetic_plan import SlidePlan
from .synthetic_texture import BLOCK

TILE = 256
QUALITY = 85
SMALLEST_LEVEL = 512
"""Levels halve until none of them is larger than this."""


def write_slide(plan: SlidePlan, path: Path) -> None:
    """Write the slide as a generic tiled TIFF, whole or not at all.

    Each level averages two by two pixels of the one before. The density of pixels is in the resolution
    tags, per centimetre, where OpenSlide finds the mpp.
    """
    whole_or_not(path, lambda beside: _write_tiff(plan, beside))


def write_mask(focus: Mask, path: Path) -> None:
    """Write the focus (m, m) as a PNG of 0 and 255 that covers the whole slide, whole or not at all."""
    image = Image.fromarray(focus.astype(np.uint8) * np.uint8(255))
    whole_or_not(path, lambda beside: image.save(beside, format="PNG"))


def whole_or_not(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` write a file beside its place, then rename it into place: a file that is there is whole.

    Raises:
        DiskFull: no space left for it; what was written of it is removed.
    """
    beside = path.with_name(f".{path.name}.partial")
    try:
        write(beside)
        with open(beside, "rb+") as file:
            os.fsync(file.fileno())
    except OSError as error:
        beside.unlink(missing_ok=True)
        if error.errno == errno.ENOSPC:
            raise DiskFull(f"No space is left to write {path}.", "Free some space and call again.") from error
        raise
    beside.replace(path)


def _write_tiff(plan: SlidePlan, path: Path) -> None:
    side = plan.spec.side_px
    painter = Painter(plan)
    below = _all_glass(side, painter.glass())
    with tifffile.TiffWriter(path) as tiff:
        _write_level(tiff, side, _finest_tiles(painter, below), {**_scale(plan.mpp), "subfiletype": 0})
        while side > SMALLEST_LEVEL:
            side //= 2
            _write_level(tiff, side, _tiles(below[:side, :side]), {"subfiletype": 1})
            below = _reduced(below)


def _scale(mpp: float) -> dict[str, object]:
    return {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}


def _write_level(
    tiff: tifffile.TiffWriter, side: int, tiles: Iterator[bytes], tags: dict[str, object]
) -> None:
    """Add a level of encoded tiles, row by row; without software and date, bytes are the same every time."""
    tiff.write(
        tiles,
        shape=(side, side, 3),
        dtype=np.uint8,
        tile=(TILE, TILE),
        photometric="ycbcr",
        subsampling=(2, 2),
        compression="jpeg",
        metadata=None,
        software=False,
        **tags,
    )


def _finest_tiles(painter: Painter, below: Pixels) -> Iterator[bytes]:
    """The finest level's tiles, encoded; on the way `below`, the next level, is filled in place."""
    glass = _block_tiles(painter.glass())
    half = BLOCK // 2
    across = -(-painter.side // TILE)
    for row, blocks in enumerate(painter.rows()):
        for column, block in enumerate(blocks):
            if block is not None:
                below[row * half :, column * half :][:half, :half] = _reduced(block)
        tiles = [glass if block is None else _block_tiles(block) for block in blocks]
        for strip in range(min(BLOCK // TILE, across - row * BLOCK // TILE)):
            yield from list(chain.from_iterable(block[strip] for block in tiles))[:across]


def _block_tiles(block: Pixels) -> list[list[bytes]]:
    return [list(_tiles(strip)) for strip in _strips(block)]


def _all_glass(side: int, glass: Pixels) -> Pixels:
    """The second level without any tissue yet, in whole blocks."""
    blocks = -(-side // BLOCK)
    return np.tile(_reduced(glass), (blocks, blocks, 1))


def _strips(pixels: Pixels) -> list[Pixels]:
    return [pixels[y : y + TILE] for y in range(0, len(pixels), TILE)]


def _tiles(pixels: Pixels) -> Iterator[bytes]:
    """The pixels as encoded tiles, row by row; tiles that overhang are completed by their last pixels."""
    height, width = pixels.shape[:2]
    whole = np.pad(pixels, ((0, -height % TILE), (0, -width % TILE), (0, 0)), mode="edge")
    for strip in _strips(whole):
        for x in range(0, whole.shape[1], TILE):
            yield _encoded(strip[:, x : x + TILE])


def _encoded(tile: Pixels) -> bytes:
    return bytes(
        imagecodecs.jpeg8_encode(
            np.ascontiguousarray(tile),
            level=QUALITY,
            colorspace="RGB",
            outcolorspace="YCBCR",
            subsampling="420",
        )
    )


def _reduced(pixels: Pixels) -> Pixels:
    """Two by two pixels averaged."""
    return np.asarray(Image.fromarray(pixels).reduce(2))
