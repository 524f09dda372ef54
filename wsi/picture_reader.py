"""Plain pictures (PNG, JPEG, flat TIFF) as slides of one level, held in memory once read."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ..errors import LimitExceeded, ReadFailed, Truncated, UnsupportedFormat
from .levels import make_levels
from .quiet import silent_pillow
from .reader import Facts, LevelBox, Rgba, clip, paste
from .tiff_facts import CONVERT

MAX_PX = 100_000_000
FORMATS = ("PNG", "JPEG", "TIFF")
COLOURS = {
    "1": "black-and-white",
    "CMYK": "CMYK",
    "I": "grey",
    "L": "grey",
    "LA": "grey",
    "RGB": "RGB",
    "RGBA": "RGBA",
}
"""Pillow's modes in words."""

UM_PER_UNIT = {2: 25_400.0, 3: 10_000.0}
"""TIFF ResolutionUnit: inch, centimetre. Anything else says nothing about microns."""


class PictureReader:
    """A `Reader` over a picture that Pillow decodes whole, at the first read.

    The resolution of a PNG or JPEG is meant for screens and printers and is not looked at; that of
    a flat TIFF is passed on, to be checked like any other. Pixels are taken as stored: no EXIF
    rotation, no colour profile.
    """

    def __init__(self, path: Path) -> None:
        """Reads the header only.

        Raises:
            UnsupportedFormat: not a picture with 8-bit colours.
            LimitExceeded: more than 100 Mpx.
        """
        self._path = path
        self._lock = threading.Lock()
        self._pixels: NDArray[np.uint8] | None = None
        self._closed = False
        with _open(path) as image:
            _check(image, path)
            mpp = _tag_mpp(image) if image.format == "TIFF" else (None, None)
            self._facts = Facts(
                "picture", make_levels([image.size]), mpp, icc=image.info.get("icc_profile") or b""
            )

    @property
    def facts(self) -> Facts:
        return self._facts

    def read(self, box: LevelBox) -> Rgba:
        if self._closed:
            raise ReadFailed("The slide was closed.")
        with self._lock:
            if self._pixels is None:
                self._pixels = _decode(self._path)
            pixels = self._pixels
        left, top, right, bottom = clip(box, self._facts.levels[0].size)
        return paste(pixels[top:bottom, left:right], (left - box.x, top - box.y), box)

    def start(self, box: LevelBox) -> tuple[float, float]:
        return float(box.x), float(box.y)

    def close(self) -> None:
        self._closed = True
        self._pixels = None


def _open(path: Path) -> Image.Image:
    try:
        with silent_pillow():
            return Image.open(path, formats=FORMATS)
    except Image.DecompressionBombError:
        raise _too_large() from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        # SyntaxError is what Pillow's PNG and TIFF parsers raise for a broken header.
        raise UnsupportedFormat("A picture whose header is damaged.") from None


def _check(image: Image.Image, path: Path) -> None:
    width, height = image.size
    if width * height > MAX_PX:
        raise _too_large()
    if image.mode not in ("RGB", "RGBA", "P") or _png_bits(path) > 8:
        depth = "16-bit " if image.mode.startswith("I") or _png_bits(path) > 8 else ""
        colour = COLOURS.get(image.mode.split(";")[0], "other than RGB")
        raise UnsupportedFormat(f"A {image.format} picture with {depth}{colour} pixels.", CONVERT)


def _png_bits(path: Path) -> int:
    """The bit depth of a PNG, which Pillow silently reduces to 8; 8 for any other file."""
    with open(path, "rb") as file:
        head = file.read(25)
    return head[24] if head.startswith(b"\x89PNG") and len(head) == 25 else 8


def _too_large() -> LimitExceeded:
    return LimitExceeded(f"A picture without tiles of more than {MAX_PX // 1_000_000} Mpx.", CONVERT)


def _tag_mpp(image: Image.Image) -> tuple[float | None, float | None]:
    tags = image.tag_v2  # type: ignore[attr-defined]
    unit = UM_PER_UNIT.get(tags.get(296, 2))
    x, y = (float(tags.get(tag) or 0) for tag in (282, 283))
    return (unit / x, unit / y) if unit and x > 0 and y > 0 else (None, None)


def _decode(path: Path) -> NDArray[np.uint8]:
    try:
        with _open(path) as image:
            clear = image.mode == "RGBA" or "transparency" in image.info
            mode = "RGBA" if clear else "RGB"
            return np.asarray(image if image.mode == mode else image.convert(mode))
    except (OSError, ValueError, SyntaxError, EOFError):
        raise Truncated("A picture that cannot be decoded to its end.", "Copy the file again.") from None
