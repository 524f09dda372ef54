"""A fit applied: one exact table of all 16.7 million colours, and one lookup per pixel.

What becomes of a pixel depends on its colour alone. So the table is made once per slide, in double
precision (single for CIELAB), and patches are looked up in it: the result is the same on every device and
for every batch size, all methods are equally fast, and no logarithm is taken twice.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .density import LEVEL_DENSITY, PALE, WHITE
from .lab import from_linear, from_roots, linear, roots
from .spec import StainFit

LEVELS = 256
LARGEST = 1e100
"""No factor is larger, and none smaller than its inverse: products of three stay finite."""

PIXELS_AT_ONCE = 1 << 17
"""Their places in the table stay in the processor's cache."""

LOOK_EVERY = 4
BLANK = 0.01
"""A patch is blank where less of it, in a lattice of every fourth row and column, absorbs in any channel."""

NewColours = Callable[[int], NDArray[np.floating[Any]]]
"""From a level of red to what becomes of its colours, (256, 256, 3) by green and blue; may leave 0 to 255."""


class ColourTable:
    """What becomes of every colour. Make it with `colour_table`.

    Attributes:
        colours: uint8 (256 * 256 * 256, 3), at red * 65536 + green * 256 + blue.
    """

    def __init__(self, colours: torch.Tensor) -> None:
        self.colours = colours

    def __call__(self, patches: torch.Tensor) -> torch.Tensor:
        """Patches uint8 (B, H, W, 3), on any device, in new colours; blank ones as they are."""
        if patches.device != self.colours.device:
            self.colours = self.colours.to(patches.device)
        pixels = patches.reshape(-1, 3)
        coloured = torch.empty_like(pixels)
        at_once = PIXELS_AT_ONCE if patches.device.type == "cpu" else max(1, len(pixels))
        for first in range(0, len(pixels), at_once):
            some = slice(first, first + at_once)
            torch.index_select(self.colours, 0, _places(pixels[some]), out=coloured[some])
        coloured = coloured.view(patches.shape)
        blank = _blank(patches)
        coloured[blank] = patches[blank]
        return coloured


def apply(fit: StainFit, target: StainFit, patches: torch.Tensor) -> torch.Tensor:
    """Patches uint8 (B, H, W, 3) of the slide that `fit` describes, made to look like the target's.

    Args:
        target: fitted by the same method.
        patches: on any device. Blank ones come back unchanged.
    """
    return colour_table(fit, target)(patches)


@lru_cache(maxsize=1)
def colour_table(fit: StainFit, target: StainFit) -> ColourTable:
    """The table behind `apply`: 48 MiB. The latest one is kept."""
    new_colours = _by_lab(fit, target) if fit.method == "reinhard" else _by_density(fit, target)
    colours = np.empty((LEVELS, LEVELS, LEVELS, 3), np.uint8)
    for red in range(LEVELS):  # a plane at a time stays in the processor's cache
        plane = new_colours(red)
        colours[red] = np.clip(np.rint(plane, out=plane), 0, 255, out=plane)
    return ColourTable(torch.from_numpy(colours).view(-1, 3))


def _places(pixels: torch.Tensor) -> torch.Tensor:
    """Where pixels, uint8 (N, 3), stand in the table: int32 (N,)."""
    red, green, blue = pixels.unbind(1)
    return (red.int() << 16).bitwise_or_(green.int() << 8).bitwise_or_(blue)


def _blank(patches: torch.Tensor) -> torch.Tensor:
    """Which patches (B, H, W, 3) hold nothing but glass, bool (B,)."""
    red, green, blue = patches[:, ::LOOK_EVERY, ::LOOK_EVERY].unbind(3)
    darkest = torch.minimum(torch.minimum(red, green), blue)
    glass = WHITE * np.exp(-PALE) - 1
    blank: torch.Tensor = (darkest <= glass).float().mean(dim=(1, 2)) < BLANK
    return blank


def _by_density(fit: StainFit, target: StainFit) -> NewColours:
    """Each stain's concentration scaled to the target's strength, shown in the target's colour.

    That is linear in optical density, so a new level is a product of three factors, one per old channel.
    """
    scale = np.diag(np.array(target.strengths) / np.array(fit.strengths))
    mixed = np.linalg.pinv(np.array(fit.stains)) @ scale @ np.array(target.stains)
    limit = np.log(LARGEST)
    factors = np.exp((-LEVEL_DENSITY[:, None] * mixed[:, None]).clip(-limit, limit))
    red, green, blue = factors
    others = WHITE * (green[:, None] * blue)
    return lambda level: red[level] * others - 1


def _by_lab(fit: StainFit, target: StainFit) -> NewColours:
    """Mean and deviation of each CIELAB channel moved to the target's."""
    old_mean, old_std = np.array(fit.lab_mean), np.array(fit.lab_std)
    scale = np.array(target.lab_std) / old_std
    shift = np.array(target.lab_mean) - scale * old_mean
    bright, green_red, blue_yellow = scale.tolist()
    shift[0] += 16 * (1 - scale[0])
    up, a, b = (shift / [116, 500, 200]).tolist()
    light = linear(np.arange(LEVELS) / 255)

    def new_colours(red: int) -> NDArray[np.float32]:
        x, y, z = roots((light[red : red + 1], light[:, None], light))
        new_y = bright * y + up
        moved = green_red * (x - y) + new_y + a, new_y, blue_yellow * (z - y) + new_y - b
        return np.stack([from_linear(plane) * 255 for plane in from_roots(moved)], axis=-1)

    return new_colours
