"""The soft parts of a slide, as three densities on a raster a few times coarser than its pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .synthetic_field import Field, Mask, enlarge, smooth_noise

FINE = 4
"""Layers have this many px for one of the tissue's raster."""


@dataclass(frozen=True)
class Layers:
    """What lies between the nuclei; float32 (n, n) each, over the whole slide.

    Attributes:
        spacing: µm per px of these rasters.
        eosin, haematoxylin: optical density.
        fibre: optical density by which the collagen texture swings the eosin.
        stroma: 1 in connective tissue, 0 in glass, fat, glands and their lumens.
        section: 1 in tissue of any sort, fat and lumens included, 0 in glass.
    """

    spacing: float
    eosin: Field
    haematoxylin: Field
    fibre: Field
    stroma: Field
    section: Field

    def copy(self) -> Layers:
        """Layers of their own, to be covered without touching these."""
        eosin, haematoxylin, fibre = self.eosin.copy(), self.haematoxylin.copy(), self.fibre.copy()
        return Layers(self.spacing, eosin, haematoxylin, fibre, self.stroma.copy(), self.section)


@dataclass(frozen=True)
class Matter:
    """The densities of one sort of tissue, as in `Layers`."""

    eosin: float
    haematoxylin: float
    fibre: float


def lay_stroma(rng: np.random.Generator, tissue: Mask, spacing: float) -> Layers:
    """Connective tissue of uneven staining, where `tissue` (n / FINE, n / FINE) is; torn here and there."""
    size = FINE * len(tissue)
    ragged = 0.15 * smooth_noise(rng, size, 14 / spacing).clip(-2, 2)
    edge = enlarge(tissue.astype(np.float32), size) - 0.5 + ragged
    tear = (
        np.abs(smooth_noise(rng, size, 320 / spacing)) - 0.16 * smooth_noise(rng, size, 500 / spacing) + 0.26
    )
    stroma = np.clip(0.5 + 3 * edge, 0, 1) * np.clip(0.5 + 9 * tear, 0, 1)
    coarse, fine = smooth_noise(rng, size, 260 / spacing), smooth_noise(rng, size, 35 / spacing)
    tone = np.clip(1 + 0.16 * coarse + 0.10 * fine, 0.45, 1.6) * stroma
    density = 0.23 * tone
    loose = (0.55 + 0.22 * smooth_noise(rng, size, 140 / spacing)).clip(0.15, 0.95)
    return Layers(spacing, density, 0.03 * stroma, loose * density, stroma, stroma.copy())


def cover(layers: Layers, part: Field, matter: Matter) -> None:
    """Replace what is there by `matter`, in place, to the degree `part` (n, n) in 0..1 says."""
    for layer, value in (
        (layers.eosin, matter.eosin),
        (layers.haematoxylin, matter.haematoxylin),
        (layers.fibre, matter.fibre),
        (layers.stroma, 0.0),
    ):
        np.multiply(layer, 1 - part, out=layer)
        np.add(layer, np.float32(value) * part, out=layer)


def soften(mask: Mask, spread: float) -> Field:
    """A mask as float32 whose edges are `spread` px wide."""
    return np.asarray(ndimage.gaussian_filter(mask.astype(np.float32), spread))
