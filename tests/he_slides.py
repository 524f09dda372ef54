"""Drawn H&E, for the tests of stains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SIDE = 600
PURPLE, PALER = [[0.62, 0.70, 0.354], [0.17, 0.92, 0.353]], [[0.45, 0.55, 0.2], [0.1, 0.75, 0.35]]
"""Directions in which haematoxylin and eosin absorb."""


def he_slide(stains: list[list[float]], seed: int = 0) -> NDArray[np.uint8]:
    """Glass with a disc of blocks of 4 px that hold much of one stain and little of the other."""
    rng = np.random.default_rng(seed)
    cells = SIDE // 4
    amounts = rng.gamma(3, 0.25, (cells, cells, 2)) * rng.uniform(0.7, 1.3)
    which = rng.integers(2, size=(cells, cells))
    np.put_along_axis(amounts, which[..., None], 0.01, axis=2)
    levels = 240 * np.exp(-amounts @ np.array(stains)) - 1
    y, x = np.mgrid[:cells, :cells] - cells / 2
    levels[x**2 + y**2 > (0.4 * cells) ** 2] = 239
    return levels.round().clip(0, 255).astype(np.uint8).repeat(4, 0).repeat(4, 1)


def write_stainings(folder: Path, write_slide: Callable[..., Path]) -> Path:
    """The same tissue in two stainings, a.tiff and b.tiff, and grey.tiff as it would look in grey."""
    folder.mkdir()
    write_slide(folder / "a.tiff", he_slide(PURPLE), 1.0)
    write_slide(folder / "b.tiff", he_slide(PALER), 1.0)
    grey = he_slide(PURPLE).mean(axis=2, keepdims=True).repeat(3, 2).astype(np.uint8)
    write_slide(folder / "grey.tiff", grey, 1.0)
    return folder
