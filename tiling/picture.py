"""An overview picture of a slide, with what segmenters need of it computed once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

DARK_LEVEL = 60
"""Brightest channel, 0 to 255: glass in bright field lies far above, black in fluorescence below."""

HALF_UM = 16.0
SAMPLE = 250_000

Planes = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Picture:
    """A slide seen small.

    Attributes:
        rgb: uint8 (h, w, 3).
        scanned: bool (h, w), false where the scanner has no data.
        spacing: µm per px.
        larger: the picture this one was reduced from, if any: both are of one glass.
    """

    rgb: NDArray[np.uint8]
    scanned: NDArray[np.bool_]
    spacing: float
    larger: Picture | None = None

    @cached_property
    def channels(self) -> tuple[NDArray[np.uint8], ...]:
        """Red, green and blue, each uint8 (h, w) and contiguous."""
        return tuple(np.ascontiguousarray(self.rgb[..., c]) for c in range(3))

    @cached_property
    def brightest(self) -> NDArray[np.uint8]:
        """The brightest channel of each pixel, uint8 (h, w)."""
        red, green, blue = self.channels
        return np.maximum(np.maximum(red, green), blue)

    @cached_property
    def is_dark(self) -> bool:
        """Whether most of it is black, as in fluorescence; a picture without data is not."""
        seen = self.sampled(self.brightest)
        return bool(len(seen) and np.median(seen) < DARK_LEVEL)

    @cached_property
    def density(self) -> Planes:
        """Optical density of red, green and blue against the glass, each float32 (h, w)."""
        red, green, blue = (t.take(c, mode="clip") for t, c in zip(self.tables, self.channels, strict=True))
        return red, green, blue

    @cached_property
    def spread(self) -> NDArray[np.float32]:
        """How unequally the channels absorb, in optical density (h, w): high for stain, not for grey dirt."""
        red, green, blue = self.density
        spread, lowest = np.maximum(red, green), np.minimum(red, green)
        np.maximum(spread, blue, out=spread)  # in place: new memory costs more than the arithmetic
        spread -= np.minimum(lowest, blue, out=lowest)
        return spread

    @cached_property
    def tables(self) -> tuple[NDArray[np.float32], ...]:
        """Optical density by value, (256,) for each channel. The glass is its 99th percentile."""
        if self.larger is not None:
            return self.larger.tables
        values = np.arange(1, 257, dtype=np.float32)
        seen = [self.sampled(channel) for channel in self.channels]
        glass = [np.percentile(channel, 99) if len(channel) else 255 for channel in seen]
        return tuple(np.asarray(-np.log10(values / np.float32(level + 1)), np.float32) for level in glass)

    @cached_property
    def half(self) -> Picture:
        """The picture at twice the default spacing of masks, or coarser: enough for strokes and textures."""
        factor = self._factor
        if factor == 1:
            return self
        rgb = np.asarray(Image.fromarray(self.rgb).reduce(factor))
        scanned = np.asarray(Image.fromarray(self.scanned.astype(np.uint8) * 255).reduce(factor)) >= 128
        return Picture(rgb, scanned, self.spacing * factor, self)

    def sampled(self, values: NDArray[T]) -> NDArray[T]:
        """Values (h, w) at some quarter of a million scanned pixels, (n,): enough for statistics."""
        step = max(1, math.isqrt(self.scanned.size // SAMPLE))
        return values[::step, ::step][self.scanned[::step, ::step]]

    def enlarge(self, small: NDArray[T]) -> NDArray[T]:
        """Values on the pixels of `half` as values on those of this picture."""
        height, width = self.scanned.shape
        return small.repeat(self._factor, 0).repeat(self._factor, 1)[:height, :width]

    @property
    def _factor(self) -> int:
        """How many px of this picture a px of `half` is wide."""
        height, width = self.scanned.shape
        return max(1, min(int(HALF_UM / self.spacing + 0.5), int(height), int(width)))
