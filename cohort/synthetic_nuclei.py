"""Nuclei: the kinds there are, the pool of shapes they are drawn from, and the list of a slide's nuclei."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .synthetic_field import Points

Nuclei = NDArray[np.void]

ANGLES = 16
VARIANTS = 16
LOBES = 4
NUCLEUS = np.dtype([("x", "f4"), ("y", "f4"), ("diameter", "f4"), ("kind", "u1"), ("shape", "u2")])
SHAPE = np.dtype(
    [
        ("diameter", "f4"),
        ("aspect", "f4"),
        ("angle", "f4"),
        ("density", "f4"),
        ("clumps", "f4"),
        ("rim", "f4"),
        ("lobes", "f4", (LOBES,)),
        ("phases", "f4", (LOBES,)),
        ("nucleoli", "f4", (2, 3)),
    ]
)


@dataclass(frozen=True)
class Kind:
    """What the nuclei of one cell type have in common.

    Attributes:
        name: of the cell type.
        diameter: median over the type of the diameter of a disc of the same area, in µm.
        spread: deviation of the logarithm of that diameter.
        aspect: mean ratio of length to width.
        irregularity: deviation of the outline from an ellipse, as a fraction of the radius.
        density: mean optical density of the haematoxylin in it; hyperchromatic nuclei have more.
        clumps: how uneven the chromatin is, as a fraction of the density.
        nucleolus: radius of its nucleoli in µm; 0 for none to be seen.
    """

    name: str
    diameter: float
    spread: float
    aspect: float
    irregularity: float
    density: float
    clumps: float
    nucleolus: float


KINDS = (
    Kind("fibroblast", 5.8, 0.10, 2.6, 0.03, 0.46, 0.14, 0.0),
    Kind("epithelium", 7.0, 0.08, 1.35, 0.03, 0.40, 0.20, 0.0),
    Kind("lymphocyte", 5.9, 0.06, 1.08, 0.03, 0.62, 0.16, 0.0),
    Kind("atypical", 11.0, 0.24, 1.35, 0.09, 0.45, 0.36, 1.1),
)
FIBROBLAST, EPITHELIUM, LYMPHOCYTE, ATYPICAL = range(len(KINDS))


@lru_cache(maxsize=2)
def shape_pool(seed: int) -> NDArray[np.void]:
    """The shapes of a cohort, `SHAPE` (kinds, ANGLES, VARIANTS): all that its nuclei are stamped from.

    A pool makes a nucleus cost one copy of a small array, and its true size known exactly.
    """
    rng = np.random.default_rng([seed, 1])
    return np.stack([_kind_shapes(rng, kind) for kind in KINDS])


def place(
    rng: np.random.Generator, seed: int, kind: int, points: Points, angles: Points | None = None
) -> Nuclei:
    """Nuclei of one kind, `NUCLEUS` (N,), at points (N, 2) in µm.

    Args:
        rng: chooses among the variants.
        seed: of the cohort's pool.
        kind: index into `KINDS`.
        points: centres as (x, y).
        angles: (N,) of the long axis in radians; random if None.
    """
    count = len(points)
    turns = rng.uniform(0, np.pi, count) if angles is None else angles
    bins = np.round(turns / np.pi * ANGLES).astype(np.intp) % ANGLES
    variants = rng.integers(VARIANTS, size=count)
    nuclei = np.zeros(count, NUCLEUS)
    nuclei["x"], nuclei["y"] = points.T
    nuclei["kind"] = kind
    nuclei["shape"] = bins * VARIANTS + variants
    nuclei["diameter"] = shape_pool(seed)["diameter"][kind, bins, variants]
    return nuclei


def centres_of(nuclei: Nuclei) -> Points:
    """Points (N, 2) in µm, as (x, y)."""
    return np.stack([nuclei["x"], nuclei["y"]], axis=1).astype(np.float64)


def _kind_shapes(rng: np.random.Generator, kind: Kind) -> NDArray[np.void]:
    size = (ANGLES, VARIANTS)
    shapes = np.zeros(size, SHAPE)
    shapes["diameter"] = kind.diameter * np.exp(kind.spread * rng.standard_normal(size).clip(-2, 2))
    shapes["aspect"] = 1 + (kind.aspect - 1) * rng.uniform(0.4, 1.6, size)
    shapes["angle"] = np.arange(ANGLES)[:, None] * np.pi / ANGLES
    shapes["density"] = kind.density * np.exp(
        (0.10 + 0.5 * kind.spread) * rng.standard_normal(size).clip(-2, 2)
    )
    shapes["clumps"] = kind.clumps
    shapes["rim"] = rng.uniform(0.1, 0.3, size)
    shapes["lobes"] = kind.irregularity * rng.standard_normal((*size, LOBES)) / np.sqrt(1 + np.arange(LOBES))
    shapes["phases"] = rng.uniform(0, 2 * np.pi, (*size, LOBES))
    nucleoli = shapes["nucleoli"]
    nucleoli[..., :2] = rng.uniform(-0.22, 0.22, (*size, 2, 2)) * kind.diameter
    nucleoli[..., 2] = kind.nucleolus * rng.uniform(0.3, 1.2, (*size, 2))
    return shapes
