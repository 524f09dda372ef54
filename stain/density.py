"""Natural optical density as stain normalisation counts it: white is 240, and 1 is added to every level.

These are the conventions under which the reference stains were published (see `reference.py`); `hed.py`
has those of Ruifrok and Johnston.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WHITE = 240.0
PALE = 0.15
"""Macenko's beta: a channel that absorbs less counts as transparent."""

Floats = NDArray[np.float64]

LEVEL_DENSITY: Floats = -np.log((np.arange(256) + 1) / WHITE)
"""Optical density of every 8-bit level, (256,)."""


def density(pixels: NDArray[np.uint8]) -> Floats:
    """Optical density, float64, of 8-bit levels of any shape; below 0 for levels above white."""
    return LEVEL_DENSITY[pixels]


def dense(od: Floats) -> Floats:
    """The pixels (M, 3) of (N, 3) that absorb in every channel: those whose direction is well known."""
    absorbing: Floats = od[od.min(axis=1) >= PALE]
    return absorbing


def concentrations(od: Floats, stains: Floats) -> Floats:
    """How much of each stain (2, 3) a pixel (N, 3) holds: least squares, (N, 2)."""
    return od @ np.linalg.pinv(stains)
