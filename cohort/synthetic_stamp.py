"""The picture of a nucleus: haematoxylin density on a few pixels, drawn once per shape and scanner."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .synthetic_field import Field
from .synthetic_nuclei import shape_pool
from .synthetic_stain import DENSITY_STEP

Stamp = NDArray[np.uint8]

BLUR = 0.35


@lru_cache(maxsize=2)
def stamps(seed: int, mpp: float) -> tuple[tuple[Stamp, ...], ...]:
    """Stamps[kind][shape], each uint8 (n, n) with n odd, in steps of `DENSITY_STEP` optical density.

    Args:
        seed: of the cohort's pool of shapes.
        mpp: of the scanner, in µm per px.
    """
    rng = np.random.default_rng([seed, 2])
    return tuple(tuple(_stamp(rng, shape, mpp) for shape in kind.ravel()) for kind in shape_pool(seed))


def _stamp(rng: np.random.Generator, shape: np.void, mpp: float) -> Stamp:
    reach = 0.5 * shape["diameter"] * np.sqrt(shape["aspect"]) * (1 + np.abs(shape["lobes"]).sum()) + 3 * BLUR
    half = int(np.ceil(reach / mpp))
    y, x = (mpp * np.mgrid[-half : half + 1, -half : half + 1]).astype(np.float32)
    inward = _depth(shape, x, y)
    inside = np.clip(inward / mpp + 0.5, 0, 1)
    chromatin = shape["density"] * _chromatin(rng, shape, inward)
    for cx, cy, radius in shape["nucleoli"]:
        chromatin += 0.3 * np.clip((radius - np.hypot(x - cx, y - cy)) / mpp + 0.5, 0, 1)
    density = ndimage.gaussian_filter(inside * chromatin, BLUR / mpp)
    return np.asarray(np.round(density / DENSITY_STEP).clip(0, 255).astype(np.uint8))


def _depth(shape: np.void, x: Field, y: Field) -> Field:
    """About how far inside the outline each pixel lies, in µm; negative outside."""
    turn, stretch = shape["angle"], np.sqrt(shape["aspect"])
    along = (x * np.cos(turn) + y * np.sin(turn)) / stretch
    across = (y * np.cos(turn) - x * np.sin(turn)) * stretch
    around = np.arctan2(across, along)
    waves = np.arange(2, 2 + len(shape["lobes"]))[:, None, None]
    ripple = shape["lobes"][:, None, None] * np.cos(waves * around + shape["phases"][:, None, None])
    depth: Field = 0.5 * shape["diameter"] * (1 + ripple.sum(axis=0)) - np.hypot(along, across)
    return depth


def _chromatin(rng: np.random.Generator, shape: np.void, inward: Field) -> Field:
    """Relative density: clumps about a micron wide, and more along the nuclear membrane."""
    noise = ndimage.gaussian_filter(rng.standard_normal(inward.shape, dtype=np.float32), 1.3)
    clumps = 1 + shape["clumps"] * noise / max(float(noise.std()), 1e-6)
    membrane = shape["rim"] * np.exp(-((inward - 0.5) ** 2) / 0.5)
    relative: Field = clumps.clip(0.35, 1.8) - 0.5 * shape["rim"] + 1.5 * membrane
    return relative
