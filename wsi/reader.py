"""The seam between a `Slide` and the library that decodes its file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .levels import Level

Rgba = NDArray[np.uint8]


@dataclass(frozen=True)
class Facts:
    """What a reader knows about its file: numbers and a vendor's name, nothing about a patient.

    Attributes:
        format: "aperio", "generic-tiff", "dicom", "picture", ...
        levels: the pyramid, level 0 first.
        mpp: (x, y) as the file says it, unchecked: text, number or None.
        bounds: (x, y, width, height) of the scanned part in level-0 px, None for all of it.
        objective_power: as the file says it, None where it does not.
        scales: per level, by how much the decoder can reduce it on its way, 1 first; empty if it cannot.
        derived: the finest level here was made from a finer one, which is not here.
        icc: the colour profile of the scanner, as stored; empty where there is none.
    """

    format: str
    levels: tuple[Level, ...]
    mpp: tuple[object, object]
    bounds: tuple[float, float, float, float] | None = None
    objective_power: float | None = None
    scales: tuple[tuple[int, ...], ...] = ()
    derived: bool = False
    icc: bytes = field(default=b"", repr=False)

    def view(self, level: int, scale: int) -> Level:
        """A level as the decoder reduces it; the last px may stand for fewer than the others."""
        this = self.levels[level]
        if scale == 1:
            return this
        width, height = (-(-side // scale) for side in this.size)
        x, y = this.downsample
        return Level((width, height), (x * scale, y * scale))


class LevelBox(NamedTuple):
    """A box of whole pixels of one level, or of that level as the decoder reduces it by `scale`."""

    level: int
    x: int
    y: int
    width: int
    height: int
    scale: int = 1


class Reader(Protocol):
    """Decodes pixels. Safe to call from several threads; `close` ends it."""

    @property
    def facts(self) -> Facts: ...

    def read(self, box: LevelBox) -> Rgba:
        """uint8 (height, width, 4), not premultiplied; pixels outside the level are transparent.

        Raises:
            ReadFailed: this box cannot be decoded. The reader stays usable for others.
        """
        ...

    def start(self, box: LevelBox) -> tuple[float, float]:
        """Where the first pixel of `read(box)` really begins, in px of the level: (x, y) or nearly so."""
        ...

    def close(self) -> None: ...


def parse_number(value: object) -> float | None:
    """A number from a header value, None where there is none (absent, empty or not a number)."""
    if not isinstance(value, str | int | float):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def parse_power(value: object) -> float | None:
    """An objective's magnification, None unless it is a positive number."""
    power = parse_number(value)
    return power if power is not None and 0 < power < math.inf else None


def paste(pixels: NDArray[np.uint8], offset: tuple[int, int], box: LevelBox) -> Rgba:
    """Pixels (h, w, 3|4) that begin `offset` px inside `box`, on a transparent canvas of its size."""
    canvas = np.zeros((box.height, box.width, 4), np.uint8)
    (x, y), (h, w, channels) = offset, pixels.shape
    part = canvas[y : y + h, x : x + w]
    part[..., :channels] = pixels
    if channels == 3:
        part[..., 3] = 255
    return canvas


def clip(box: LevelBox, size: Sequence[int]) -> tuple[int, int, int, int]:
    """The part of `box` inside a level of (width, height) px: left, top, right, bottom; may be empty."""
    left, top = max(box.x, 0), max(box.y, 0)
    right = max(min(box.x + box.width, size[0]), left)
    bottom = max(min(box.y + box.height, size[1]), top)
    return left, top, right, bottom
