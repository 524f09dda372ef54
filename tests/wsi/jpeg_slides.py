"""Small JPEG slides written tile by tile, in every way that scanners have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Layout:
    """`missing` are the tiles of zero length; `apart` stores the tables once for all tiles."""

    tile: int = 256
    colours: str = "ycbcr"
    subsampling: str | None = "420"
    quality: int = 80
    apart: bool = False
    missing: frozenset[int] = frozenset()


def tissue(size: tuple[int, int], seed: int = 0) -> Pixels:
    """Coloured texture of a few px, uint8 (height, width, 3)."""
    width, height = size
    noise = np.random.default_rng(seed).standard_normal((height, width, 3)).astype(np.float32)
    fine = gaussian_filter(noise, (1.2, 1.2, 0)) * 60 + gaussian_filter(noise, (6, 6, 0)) * 400
    return (np.array([190, 120, 170]) + fine).clip(0, 255).astype(np.uint8)


def write(path: Path, pixels: Pixels, how: Layout, description: str | None = None) -> Path:
    """One level at 0.5 µm per px; tiles at the far borders are padded with green."""
    encoded = [encode(tile, how) for tile in tiles(pixels, how.tile)]
    options = {}
    if how.apart:
        options["extratags"] = [(347, 7, len(tables := split(encoded[0])[0]), tables, True)]
        encoded = [split(tile)[1] for tile in encoded]
    tifffile.imwrite(
        path,
        iter([b"" if i in how.missing else tile for i, tile in enumerate(encoded)]),
        shape=pixels.shape,
        dtype=np.uint8,
        tile=(how.tile, how.tile),
        photometric=how.colours,
        compression="jpeg",
        subsampling=(1, 1) if how.colours == "rgb" else None,
        resolution=(2e4, 2e4),
        resolutionunit="CENTIMETER",
        description=description,
        metadata=None,
        **(options | ({"compressionargs": {"outcolorspace": "rgb"}} if how.colours == "rgb" else {})),
    )
    return path


def full(pixels: Pixels, how: Layout) -> Pixels:
    """What the slide should show at full resolution, decoded tile by tile by another library's binding."""
    height, width = pixels.shape[:2]
    columns = -(-width // how.tile)
    shown = np.full((-(-height // how.tile) * how.tile, columns * how.tile, 3), 255, np.uint8)
    for i, tile in enumerate(tiles(pixels, how.tile)):
        if i not in how.missing:
            y, x = (v * how.tile for v in divmod(i, columns))
            shown[y : y + how.tile, x : x + how.tile] = imagecodecs.jpeg8_decode(encode(tile, how))
    return shown[:height, :width]


def scanned(pixels: Pixels, how: Layout) -> NDArray[np.bool_]:
    """Which px are not of a missing tile."""
    height, width = pixels.shape[:2]
    columns = -(-width // how.tile)
    y, x = np.mgrid[:height, :width] // how.tile
    return ~np.isin(y * columns + x, list(how.missing))


def split(jpeg: bytes) -> tuple[bytes, bytes]:
    """The tables of a JPEG, and the JPEG without them."""
    tables, rest, at = b"", b"", 2
    while jpeg[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4])
        if jpeg[at + 1] in (0xDB, 0xC4):
            tables += jpeg[at:end]
        else:
            rest += jpeg[at:end]
        at = end
    return b"\xff\xd8" + tables + b"\xff\xd9", b"\xff\xd8" + rest + jpeg[at:]


def overwrite(path: Path, tile: int, content: bytes) -> None:
    """Replace the beginning of one tile's bytes."""
    with tifffile.TiffFile(path) as tiff:
        start = tiff.pages[0].dataoffsets[tile]
    with open(path, "r+b") as file:
        file.seek(start)
        file.write(content)


def padded(pixels: Pixels, side: int) -> Pixels:
    """The picture up to the end of its last tiles, in green."""
    height, width = (-(-length // side) * side for length in pixels.shape[:2])
    whole = np.full((height, width, 3), (0, 255, 0), np.uint8)
    whole[: pixels.shape[0], : pixels.shape[1]] = pixels
    return whole


def tiles(pixels: Pixels, side: int) -> list[Pixels]:
    """Tiles row by row, those at the far borders padded."""
    whole = padded(pixels, side)
    corners = [(y, x) for y in range(0, whole.shape[0], side) for x in range(0, whole.shape[1], side)]
    return [whole[y : y + side, x : x + side].copy() for y, x in corners]


def encode(tile: Pixels, how: Layout) -> bytes:
    return imagecodecs.jpeg8_encode(
        tile,
        level=how.quality,
        colorspace="rgb",
        outcolorspace=how.colours,
        subsampling=how.subsampling if how.colours == "ycbcr" else None,
    )
