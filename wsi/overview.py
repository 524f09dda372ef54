"""The whole of a slide in a small picture, whatever parts of it cannot be decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from ..errors import ReadFailed, Unreadable
from ..geometry import Region
from .reader import Reader
from .sampling import sample

T = TypeVar("T", bound=np.generic)

FINEST_PX = 128
"""Level-0 px: a part that cannot be decoded is narrowed down to about this size."""

PATIENCE = 400
MAX_LOST = 0.01
"""The slide is given up after so many failed reads if more than this share of it is lost: a failed
read costs an opening of the file, so that a slide without a readable tile would take hours."""


@dataclass
class _Canvas:
    """The picture as it fills up."""

    reader: Reader
    rgb: NDArray[np.uint8]
    coverage: NDArray[np.uint8]
    lost: NDArray[np.bool_]
    scale: tuple[float, float]
    failures: int = 0
    lost_px: int = 0

    def lose(self, part: tuple[slice, slice]) -> None:
        self.lost[part] = True
        self.lost_px += self.lost[part].size
        if self.failures > PATIENCE and self.lost_px > MAX_LOST * self.lost.size:
            raise Unreadable(f"More than {MAX_LOST:.0%} of the slide cannot be decoded.")


@dataclass(frozen=True)
class _Block:
    """Output px."""

    x: int
    y: int
    width: int
    height: int

    def halves(self) -> tuple[_Block, _Block]:
        if self.width >= self.height:
            cut = self.width // 2
            left = _Block(self.x, self.y, cut, self.height)
            return left, _Block(self.x + cut, self.y, self.width - cut, self.height)
        cut = self.height // 2
        top = _Block(self.x, self.y, self.width, cut)
        return top, _Block(self.x, self.y + cut, self.width, self.height - cut)


def survey(reader: Reader, out_size: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The whole extent as uint8 (H, W, 3) and what was scanned as bool (H, W).

    Raises:
        Unreadable: too many parts, or all of them, cannot be decoded.
    """
    (w, h), full = out_size, reader.facts.levels[0].size
    canvas = _Canvas(
        reader,
        rgb=np.full((h, w, 3), 255, np.uint8),
        coverage=np.zeros((h, w), np.uint8),
        lost=np.zeros((h, w), bool),
        scale=(full[0] / w, full[1] / h),
    )
    _fill(canvas, _Block(0, 0, w, h))
    scanned = canvas.coverage >= 128
    return _mend(canvas.rgb, canvas.lost), _mend(scanned, canvas.lost)


def _fill(canvas: _Canvas, block: _Block) -> None:
    sx, sy = canvas.scale
    part = (slice(block.y, block.y + block.height), slice(block.x, block.x + block.width))
    region = Region((block.x * sx, block.y * sy), (block.width * sx, block.height * sy))
    try:
        found = sample(canvas.reader, region, (block.width, block.height))
        canvas.rgb[part], canvas.coverage[part] = found.rgb, found.coverage
    except ReadFailed:
        canvas.failures += 1
        if max(region.extent) <= FINEST_PX or block.width == block.height == 1:
            canvas.lose(part)
            return
        for half in block.halves():
            _fill(canvas, half)


def _mend(values: NDArray[T], lost: NDArray[np.bool_]) -> NDArray[T]:
    """Each lost pixel takes the value of the nearest one that is not."""
    if not lost.any():
        return values
    if lost.all():
        raise Unreadable("No part of the slide can be decoded.")
    rows, columns = distance_transform_edt(lost, return_distances=False, return_indices=True)
    mended: NDArray[T] = values[rows, columns]
    return mended
