"""Pen and ink on a slide by colour, from how they absorb: black, red, green and blue.

Hematoxylin, eosin, DAB and blood absorb green light at least as strongly as red light; green and blue ink
absorb red light more. Red ink lets red light pass as no stain does, and black ink stops all light. Each rule
has a loose and a strict form: strokes are regions of the loose form of which enough is strict, so that faint
ends of a stroke are found and blood, which looks like thinned red ink, is not. The thresholds were set on the
pen pictures of HistoQC (Janowczyk et al. 2019) and on real blood, fat and IHC without ink.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .picture import Picture, Planes

COLOURS = ("black", "red", "green", "blue")
"""Label 1 is black, 2 red, 3 green, 4 blue; 0 is no ink."""

STROKE_MM2 = 0.03
"""Least area of a stroke: a dot of 0.2 mm. Smaller dark things are folds, pigment or dirt."""

REACH_UM = 60.0
"""Pieces of a streaky stroke that are nearer than twice this belong together."""

RIM_UM, RIM_DENSITY = 40.0, 0.12
"""How far the blurred rim of a stroke reaches, and the least optical density of what belongs to it."""

ABSORBS = 0.05
"""Optical density."""

STAIN_SHARE, STAIN_TEXTURE = 0.25, 0.14
"""A colour that makes up more than this share of all that absorbs, and whose density varies locally by more
than this fraction, is a stain: Giemsa and Alcian blue absorb as blue ink does, but tissue has nuclei."""

Rule = Callable[[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]], NDArray[np.bool_]]


@dataclass(frozen=True)
class Ink:
    """How one ink absorbs: rules on the optical density of red, green and blue.

    Attributes:
        loose: what may be this ink.
        strict: what must be.
        share: least part of a stroke that is strict.
        thin: what the blurred rim of a stroke on glass looks like; pale stain may, too.
    """

    loose: Rule
    strict: Rule
    share: float
    thin: Rule


INKS = {
    "black": Ink(
        loose=lambda r, g, b: (np.minimum(r, b) > 0.3) & (r > 0.52 * np.maximum(g, b)) & (b > 0.64 * g),
        strict=lambda r, g, b: (np.minimum(r, b) > 0.6) & (r > 0.55 * np.maximum(g, b)) & (b > 0.65 * g),
        share=0.1,
        thin=lambda r, g, b: np.maximum(np.maximum(r, g), b) < 1.4 * np.minimum(np.minimum(r, g), b),
    ),
    "red": Ink(
        loose=lambda r, g, b: (g > 0.24) & (r < 0.33 * g) & (b > 0.62 * g),
        strict=lambda r, g, b: (g > 0.4) & (r < 0.13 * g) & (b > 0.62 * g),
        share=0.02,
        thin=lambda r, g, b: (r < 0.35 * g) & (b > 0.66 * g),
    ),
    "green": Ink(
        loose=lambda r, g, b: (r - g > 0.06) & (b > 0.6 * g),
        strict=lambda r, g, b: (r - g > 0.12) & (b > 0.7 * g),
        share=0.1,
        thin=lambda r, g, b: (r > 1.1 * g) & (b > 0.6 * g),
    ),
    "blue": Ink(
        loose=lambda r, g, b: (r - g > 0.06) & (b <= 0.6 * g),
        strict=lambda r, g, b: (r - g > 0.12) & (b <= 0.6 * g),
        share=0.1,
        thin=lambda r, g, b: (r > 1.1 * g) & (b <= 0.6 * g),
    ),
}


def find_ink(picture: Picture) -> NDArray[np.uint8]:
    """Where ink lies, by colour: uint8 (h, w), 0 for none, else 1 and the place in `COLOURS`."""
    small = picture.half
    labels = np.zeros(small.scanned.shape, np.uint8)
    for number, colour in enumerate(COLOURS, start=1):
        strokes = _strokes(INKS[colour], small.density, small.spacing) & small.scanned
        if strokes.any() and not _is_stain(strokes, small):
            labels[strokes] = number
    return picture.enlarge(labels)


def find_rims(picture: Picture, ink: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The blurred rims of strokes, bool (h, w): no ink to be measured, but no tissue either.

    Args:
        ink: of the same picture, as `find_ink` gives it.
    """
    if not ink.any():
        return np.zeros(ink.shape, bool)
    small = picture.half
    red, green, blue = small.density
    absorbs = np.maximum(np.maximum(red, green), blue) > RIM_DENSITY
    reach = 2 * round(RIM_UM / picture.spacing) + 1
    rims = np.zeros(ink.shape, bool)
    for number, colour in enumerate(COLOURS, start=1):
        if (ink == number).any():
            thin = picture.enlarge(INKS[colour].thin(red, green, blue) & absorbs)
            rims |= ndimage.maximum_filter(ink == number, reach) & thin
    return np.asarray(rims & (ink == 0))


def _strokes(ink: Ink, density: Planes, spacing: float) -> NDArray[np.bool_]:
    loose, strict = ink.loose(*density), ink.strict(*density)
    if not strict.any():
        return np.zeros_like(loose)
    reach = 2 * round(REACH_UM / spacing) + 1
    regions, count = ndimage.label(ndimage.maximum_filter(loose, reach), np.ones((3, 3)))
    regions[~loose] = 0
    area = np.bincount(regions.ravel(), minlength=count + 1)
    certain = np.bincount(regions.ravel(), strict.ravel(), minlength=count + 1)
    kept = (area * (spacing / 1000) ** 2 >= STROKE_MM2) & (certain >= ink.share * area) & (area > 0)
    kept[0] = False
    strokes: NDArray[np.bool_] = kept[regions]
    return strokes


def _is_stain(strokes: NDArray[np.bool_], small: Picture) -> bool:
    absorbs = strokes | (small.spread > ABSORBS)
    if strokes.sum() <= STAIN_SHARE * absorbs.sum():
        return False
    red, green, blue = small.density
    density = (red + green + blue) / 3
    mean = ndimage.uniform_filter(density, 3)
    variance = np.maximum(ndimage.uniform_filter(density**2, 3) - mean**2, 0)
    inner = ndimage.binary_erosion(strokes)  # the rim of a stroke varies, whatever it is
    seen = inner if inner.any() else strokes
    return bool(np.median(np.sqrt(variance[seen]) / np.maximum(mean[seen], ABSORBS)) > STAIN_TEXTURE)
