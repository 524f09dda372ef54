"""From a sample of a slide's pixels to the parameters of its stain: numpy only, so that a reader can fit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.color import rgb2lab

from ..errors import StainUnfit
from .density import PALE, Floats, concentrations, dense, density
from .macenko import macenko_stains
from .ruifrok import RUIFROK_HED
from .spec import StainFit, require_method
from .vahadane import vahadane_stains

MIN_TISSUE_PX = 1000
MIN_DENSE_PX = 100
MIN_ANGLE = 8.0
"""Degrees between two stains below which they are one: a slide of one colour, or of grey."""

EOSIN = 0.875
"""Most that eosin absorbs of red or blue, per green. On some 100 pictures of H&E at most 0.85; a blue dye has
0.90 of red, red ink 0.96 of blue, clots and DAB 1.15."""

MIN_STRENGTH = 0.1
STRONGEST = 99.0
DIGITS = 6
"""Parameters are rounded, so that the last bit of a sum does not make another fit."""

INSTEAD = "Leave out --stain, or pass --allow-unnormalised to encode such slides as they are."


def fit(method: str, pixels: NDArray[np.uint8]) -> StainFit:
    """The stain parameters of a sample of an H&E slide.

    Args:
        pixels: uint8 (N, 3), in random order; those of the glass are left out.

    Raises:
        StainUnfit: too few pixels are tissue, or its colours are not those of haematoxylin and eosin.
        UsageError: no such method.
    """
    require_method(method)
    od = density(pixels)
    stained = od.max(axis=1) >= PALE
    pixels, od = pixels[stained], od[stained]
    if len(od) < MIN_TISSUE_PX or len(dense(od)) < MIN_DENSE_PX:
        raise StainUnfit(f"Only {len(od)} of {len(stained)} sampled pixels are stained.", INSTEAD)
    found = macenko_stains(dense(od))
    _require_h_and_e(found)  # whatever the method: none of them can tell what it normalises
    return _reinhard(pixels) if method == "reinhard" else _separated(method, od, found)


def _reinhard(tissue: NDArray[np.uint8]) -> StainFit:
    """Mean and deviation of each CIELAB channel (Reinhard et al., "Color transfer between images", 2001)."""
    lab = rgb2lab(tissue[None])[0]
    return StainFit("reinhard", lab_mean=_rounded(lab.mean(axis=0)), lab_std=_rounded(lab.std(axis=0)))


def _separated(method: str, od: Floats, by_macenko: Floats) -> StainFit:
    stains = by_macenko
    if method == "vahadane":
        stains = vahadane_stains(od)
        _require_h_and_e(stains)
    elif method == "ruifrok":
        stains = np.array(RUIFROK_HED[:2])
        stains /= np.linalg.norm(stains, axis=1, keepdims=True)
    strengths = np.percentile(concentrations(od, stains), STRONGEST, axis=0)
    if strengths.min() < MIN_STRENGTH:
        raise StainUnfit("It holds hardly any of one of the stains of H&E.", INSTEAD)
    return StainFit(method, tuple(map(_rounded, stains)), _rounded(strengths))


def _require_h_and_e(stains: Floats) -> None:
    """Refuse stains (2, 3) that are no haematoxylin and eosin.

    Haematoxylin absorbs more green than blue, eosin clearly more green than red or blue. DAB, clots, melanin
    and dirt absorb blue most; of inks some absorb hardly any green, some as much blue; with a blue dye there
    is no eosin; grey and a single colour give one direction twice.
    """
    haematoxylin, eosin = stains
    angle = np.degrees(np.arccos(min(1.0, float(haematoxylin @ eosin))))
    purple = haematoxylin[1] >= haematoxylin[2]
    pink = max(eosin[0], eosin[2]) <= EOSIN * eosin[1]
    if not (purple and pink and angle >= MIN_ANGLE):
        raise StainUnfit(
            f"Its two main colours absorb R, G, B as {_shown(haematoxylin)} and {_shown(eosin)}, "
            f"{angle:.0f} degrees apart: not haematoxylin and eosin.",
            INSTEAD,
        )


def _shown(stain: Floats) -> str:
    return " : ".join(f"{v:.2f}" for v in stain)


def _rounded(values: Floats) -> tuple[float, ...]:
    return tuple(round(float(v), DIGITS) for v in values)
