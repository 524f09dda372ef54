"""Pyramid levels: how far each one is reduced, and which one to read for a wanted spacing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import LimitExceeded

LEVEL_TOLERANCE = 0.01
"""A level this much coarser than the wanted spacing still serves: 1 % of enlargement invents nothing."""

MAX_PX = 10**12
"""A whole glass slide, 25 x 75 mm, at the finest spacing allowed, 0.05 µm, is 7.5e11."""


@dataclass(frozen=True)
class Level:
    """One resolution of a slide.

    Attributes:
        size: (width, height) in px of this level.
        downsample: (x, y), level-0 px per px of this level.
    """

    size: tuple[int, int]
    downsample: tuple[float, float]


def make_levels(sizes: Sequence[tuple[int, int]]) -> tuple[Level, ...]:
    """Levels from their sizes in px, the first being level 0.

    Raises:
        LimitExceeded: larger than any slide.
    """
    if max(width * height for width, height in sizes) > MAX_PX:
        width, height = sizes[0]
        raise LimitExceeded(
            f"A slide of {width} x {height} px: no scanner makes one, the header is damaged.",
            "Copy or export the file again.",
        )
    return tuple(Level(size, true_downsample(sizes[0], size)) for size in sizes)


def true_downsample(full: tuple[int, int], reduced: tuple[int, int]) -> tuple[float, float]:
    """The reduction that made a level, (x, y), where the ratio of sizes only tells it nearly.

    Writers halve pixels and drop or pad the last odd row, so a level of 199 rows of a slide of
    25,581 was reduced 128 times, not 128.55. Measured on a real slide with 8 levels by sub-pixel
    registration against level 0: the whole factor is right to 0.02 px, the ratio of sizes is wrong
    by up to 0.73 px at the lower edge. Where no whole factor explains both sizes to within a
    pixel, the ratio of each axis is all there is.
    """
    ratios = (full[0] / reduced[0], full[1] / reduced[1])
    mean = math.sqrt(ratios[0] * ratios[1])
    for factor in (2 ** round(math.log2(max(mean, 1.0))), max(round(mean), 1)):
        if all(abs(f / factor - r) < 1 for f, r in zip(full, reduced, strict=True)):
            return (float(factor), float(factor))
    return ratios


def choose_level(levels: Sequence[Level], wanted: tuple[float, float]) -> int:
    """The coarsest level that is at least as fine as wanted on both axes; level 0 if none is.

    Args:
        levels: all levels, any order.
        wanted: (x, y), level-0 px per output px.
    """
    fitting = [
        index
        for index, level in enumerate(levels)
        if all(d <= w * (1 + LEVEL_TOLERANCE) for d, w in zip(level.downsample, wanted, strict=True))
    ]
    return max(fitting, key=lambda index: levels[index].downsample, default=0)


def choose_scale(level: Level, scales: Sequence[int], wanted: tuple[float, float]) -> int:
    """The largest of the reductions that leaves a level as fine as wanted on both axes; 1 if none does."""
    ratio = min(w / d for d, w in zip(level.downsample, wanted, strict=True))
    return max((scale for scale in scales if scale <= ratio * (1 + LEVEL_TOLERANCE)), default=1)
