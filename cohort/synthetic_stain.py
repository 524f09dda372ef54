"""Two scanners and their staining: optical density to RGB by the law of Beer and Lambert.

Stain vectors after A. C. Ruifrok and D. A. Johnston, "Quantification of histochemical staining by color
deconvolution", Anal. Quant. Cytol. Histol. 23 (2001), and M. Macenko et al., ISBI 2009.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DENSITY_STEP = 0.005
DENSITY_ZERO = 8
"""Density 0 is level 8 of 256, so that noise on the white glass is not cut off at one side."""


@dataclass(frozen=True)
class Stain:
    """How densities become colours on one slide.

    Attributes:
        haematoxylin, eosin: optical density of one unit of stain in R, G and B, (3,) each.
        white: RGB of the empty glass, 0 to 255.
    """

    haematoxylin: tuple[float, ...]
    eosin: tuple[float, ...]
    white: tuple[float, ...]


@dataclass(frozen=True)
class Scanner:
    """One scanner with its laboratory's staining.

    Attributes:
        mpp: µm per px at full resolution.
        stain: the middle of what its slides look like.
    """

    mpp: float
    stain: Stain


SCANNERS = {
    "A": Scanner(0.50, Stain((0.72, 0.76, 0.30), (0.12, 0.92, 0.40), (243.0, 242.0, 244.0))),
    "B": Scanner(0.46, Stain((0.68, 0.86, 0.40), (0.14, 0.98, 0.62), (240.0, 238.0, 234.0))),
}


def draw_stain(rng: np.random.Generator, scanner: str) -> Stain:
    """The stain of one slide: direction, strength and white point vary about the scanner's."""
    middle = SCANNERS[scanner].stain
    return Stain(
        haematoxylin=_vary(rng, middle.haematoxylin),
        eosin=_vary(rng, middle.eosin),
        white=tuple(float(v + d) for v, d in zip(middle.white, rng.normal(0, 1.5, 3), strict=True)),
    )


def colour_table(stain: Stain) -> NDArray[np.uint8]:
    """RGB, uint8 (65536, 4) with an unused fourth byte, of level haematoxylin * 256 + level eosin."""
    density = DENSITY_STEP * (np.arange(256) - DENSITY_ZERO)
    haematoxylin = density[:, None, None] * np.array(stain.haematoxylin)
    eosin = density[None, :, None] * np.array(stain.eosin)
    rgb = np.array(stain.white) * np.exp(-np.log(10) * (haematoxylin + eosin))
    table = np.zeros((256, 256, 4), np.uint8)
    table[..., :3] = rgb.round().clip(0, 255)
    return table.reshape(-1, 4)


def _vary(rng: np.random.Generator, vector: tuple[float, ...]) -> tuple[float, ...]:
    strength = np.exp(rng.normal(0, 0.11))
    return tuple(float(v) for v in strength * np.maximum(np.array(vector) + rng.normal(0, 0.02, 3), 0.02))
