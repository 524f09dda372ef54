"""Which pixels of which level make a region at a size: geometry, no pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from ..geometry import Region
from .levels import Level, choose_level, choose_scale
from .reader import Facts, LevelBox, Reader
from .resample import Box, margin

SNAP = 1e-3
"""Px; closer to a whole pixel than this is floating-point noise, not geometry."""

Edges = tuple[int, int, int, int]
"""Left, top, right, bottom."""


class Window(NamedTuple):
    """A fractional box of one level, as reduced by `scale`, wanted at a size."""

    level: int
    scale: int
    box: Box
    out: tuple[int, int]

    @property
    def step(self) -> tuple[float, float]:
        """Source px per output px, (x, y)."""
        left, top, right, bottom = self.box
        return (right - left) / self.out[0], (bottom - top) / self.out[1]

    @property
    def px(self) -> float:
        """Source px in all."""
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])

    def part(self, box: Box, out: tuple[int, int]) -> Window:
        """Another box of the same level."""
        return Window(self.level, self.scale, box, out)

    def halves(self) -> tuple[int, Window, Window]:
        """The array axis cut (1 across the width, 0 across the height) and both parts."""
        left, top, right, bottom = self.box
        (w, h), (sx, sy) = self.out, self.step
        if w * sx >= h * sy and w > 1:
            x = left + (w // 2) * sx
            return (
                1,
                self.part((left, top, x, bottom), (w // 2, h)),
                self.part((x, top, right, bottom), (w - w // 2, h)),
            )
        y = top + (h // 2) * sy
        return (
            0,
            self.part((left, top, right, y), (w, h // 2)),
            self.part((left, y, right, bottom), (w, h - h // 2)),
        )


class Plan(NamedTuple):
    """What to read for a window, and what to make of it.

    Attributes:
        box: the pixels to read.
        repeat: how often to repeat the last column and the last row: what halving dropped.
        inner: the part of the pixels, so completed, that lies in the window at least partly.
        crop: the box of them to resize; None where they are the result as they are.
        out: (width, height) of the result.
    """

    box: LevelBox
    repeat: tuple[int, int]
    inner: Edges
    crop: Box | None
    out: tuple[int, int]


@dataclass(frozen=True)
class Source:
    """What serves a spacing: a level, reduced by `scale` on its way through the decoder or not."""

    level: int
    scale: int
    downsample: tuple[float, float]

    def window(self, region: Region, out: tuple[int, int]) -> Window:
        """A region of level-0 px on it."""
        (dx, dy), (x, y), (w, h) = self.downsample, region.origin, region.extent
        return Window(self.level, self.scale, (x / dx, y / dy, (x + w) / dx, (y + h) / dy), out)


def source_for(facts: Facts, extent: tuple[float, ...], out: tuple[int, int]) -> Source:
    """The nearest at or below the spacing of a region of so many level-0 px at a size."""
    wanted = extent[0] / out[0], extent[1] / out[1]
    level = choose_level(facts.levels, wanted)
    scales = facts.scales[level] if facts.scales else (1,)
    scale = choose_scale(facts.levels[level], scales, wanted)
    return Source(level, scale, facts.view(level, scale).downsample)


def plan(reader: Reader, window: Window) -> Plan:
    """How to read one window in one piece."""
    facts = reader.facts
    left, top, right, bottom = (_snap(value) for value in window.box)
    inner = (math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom))
    exact = (left, top, right, bottom) == inner and (right - left, bottom - top) == window.out
    if exact and _inside(facts.levels[window.level], window.scale, inner):
        box = LevelBox(window.level, inner[0], inner[1], *window.out, window.scale)
        return Plan(box, (0, 0), (0, 0, *window.out), None, window.out)
    view = facts.view(window.level, window.scale)
    outer = inner if exact else _with_margin(view, window, inner)
    box, repeat = _short(facts, view, window, outer)
    within = (inner[0] - outer[0], inner[1] - outer[1], inner[2] - outer[0], inner[3] - outer[1])
    width, height = facts.levels[window.level].size
    if left * window.scale >= width or top * window.scale >= height:
        within = (0, 0, 0, 0)  # the last px of a reduced level begins on the slide but ends beyond it
    if exact:
        return Plan(box, repeat, within, None, window.out)
    ox, oy = reader.start(box)
    ox, oy = ox + outer[0] - box.x, oy + outer[1] - box.y
    w, h = outer[2] - outer[0], outer[3] - outer[1]
    crop = (max(left - ox, 0.0), max(top - oy, 0.0), min(right - ox, w), min(bottom - oy, h))
    return Plan(box, repeat, within, crop, window.out)


def _inside(level: Level, scale: int, inner: Edges) -> bool:
    """Whether all px, reduced or not, are whole px of the level."""
    left, top, right, bottom = inner
    return left >= 0 and top >= 0 and right * scale <= level.size[0] and bottom * scale <= level.size[1]


def _with_margin(view: Level, window: Window, inner: Edges) -> Edges:
    """The filter's surroundings, but never past the slide's border: white must not bleed in from there."""
    w, h = view.size
    mx, my = (margin(s) for s in window.step)
    left, top, right, bottom = inner
    return (
        max(left - mx, min(left, 0)),
        max(top - my, min(top, 0)),
        min(right + mx, max(right, w)),
        min(bottom + my, max(bottom, h)),
    )


def _short(facts: Facts, view: Level, window: Window, outer: Edges) -> tuple[LevelBox, tuple[int, int]]:
    """The box that can be read; the row or column that halving dropped repeats the last one kept."""
    left, top, right, bottom = outer
    if right > view.size[0] or bottom > view.size[1]:
        right, bottom = (
            size if size < end <= math.ceil(whole / down) else end
            for size, end, whole, down in zip(
                view.size, (right, bottom), facts.levels[0].size, view.downsample, strict=True
            )
        )
    x, y = min(left, right - 1), min(top, bottom - 1)
    w, h = max(right - left, 1), max(bottom - top, 1)
    box = LevelBox(window.level, x, y, w, h, window.scale)
    return box, (outer[2] - left - w, outer[3] - top - h)


def _snap(value: float) -> float:
    whole = round(value)
    return float(whole) if abs(value - whole) < SNAP else value
