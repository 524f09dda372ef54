"""What every slide has, whatever its grade: fat, glands, lymphoid aggregates and scattered stromal cells."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw
from scipy.spatial import KDTree

from .synthetic_field import Field, Points, at, highest, scattered, smooth_noise
from .synthetic_layers import Layers, Matter, cover
from .synthetic_nuclei import EPITHELIUM, FIBROBLAST, LYMPHOCYTE, Nuclei, centres_of, place
from .synthetic_texture import fibre_angles

LUMEN = Matter(eosin=0.02, haematoxylin=0.0, fibre=0.0)
EPITHELIUM_CELLS = Matter(eosin=0.25, haematoxylin=0.08, fibre=0.06)
FAT = Matter(eosin=0.0, haematoxylin=0.0, fibre=0.0)
CORNERS = 48


def add_fat(rng: np.random.Generator, layers: Layers) -> None:
    """Clear fat cells some 55 µm wide between thin membranes, in a few zones of the stroma."""
    size, spacing = len(layers.eosin), layers.spacing
    field = smooth_noise(rng, size, 420 / spacing) + 0.15 * smooth_noise(rng, size, 60 / spacing)
    tissue = layers.stroma > 0.5
    around, zone = highest(field, tissue, 0.18), highest(field, tissue, 0.10)
    rows, columns = np.nonzero(around)
    cells = scattered(rng, size * spacing, 55.0)
    distance, cell = KDTree(cells).query(spacing * (np.stack([columns, rows], axis=1) + 0.5), k=2)
    clear = np.zeros((size, size), np.float32)
    clear[around] = np.clip((distance[:, 1] - distance[:, 0] - 1.5) / 3.5, 0, 1)
    clear[around] *= at(zone, cells, spacing)[cell[:, 0]]
    cover(layers, clear, FAT)


def add_glands(rng: np.random.Generator, seed: int, layers: Layers) -> Nuclei:
    """Lobules of glands: an epithelium of one row of nuclei around a lumen. Returns those nuclei."""
    size, spacing = len(layers.eosin), layers.spacing
    zone = highest(smooth_noise(rng, size, 550 / spacing), layers.stroma > 0.9, 0.38)
    centres = scattered(rng, size * spacing, 150.0)
    centres = centres[at(zone, centres, spacing)]
    radii = _outlines(rng, len(centres))
    thickness = rng.uniform(13, 22, len(centres))[:, None]
    lumen = _filled(centres, (radii - thickness).clip(3), layers)
    cover(layers, _filled(centres, radii, layers), EPITHELIUM_CELLS)
    cover(layers, lumen, LUMEN)
    nuclei = _gland_nuclei(rng, seed, centres, radii - 0.42 * thickness)
    in_epithelium = at((layers.section > 0.5) & (lumen < 0.5), centres_of(nuclei), spacing)
    kept: Nuclei = nuclei[in_epithelium]
    return kept


def add_lymphoid(rng: np.random.Generator, seed: int, layers: Layers) -> Nuclei:
    """Dense heaps of small dark nuclei, which a mean colour confuses with a tumour."""
    side = len(layers.eosin) * layers.spacing
    centres = scattered(rng, side, 620.0)
    centres = centres[at(layers.stroma, centres, layers.spacing) > 0.9]
    heaps = [np.empty((0, 2))]
    for centre in centres[rng.random(len(centres)) < rng.uniform(0.2, 0.7)]:
        radius = rng.uniform(45, 150)
        points = scattered(rng, 3 * radius, 8.2) - 1.5 * radius
        away = np.hypot(*points.T) / (radius * _wobble(rng, np.arctan2(points[:, 1], points[:, 0])))
        heaps.append(centre + points[rng.random(len(points)) < 3 * (1.25 - away)])
    points = _inside(np.concatenate(heaps), side)
    points = points[at(layers.stroma, points, layers.spacing) > 0.5]
    return place(rng, seed, LYMPHOCYTE, points)


def add_scattered(rng: np.random.Generator, seed: int, layers: Layers, px_per_um: float) -> Nuclei:
    """Fibroblasts along the fibres, more of them in some places than in others, and single lymphocytes."""
    size, spacing = len(layers.eosin), layers.spacing
    plenty = (0.62 + 0.22 * smooth_noise(rng, size, 180 / spacing)).clip(0.15, 1) * (layers.stroma > 0.7)
    points = scattered(rng, size * spacing, 24.0)
    points = points[rng.random(len(points)) < at(plenty, points, spacing)]
    lymphocyte = rng.random(len(points)) < 0.14
    spindles = points[~lymphocyte]
    angles = fibre_angles(seed, spindles * px_per_um) + rng.normal(0, 0.25, len(spindles))
    return np.concatenate(
        [
            place(rng, seed, FIBROBLAST, spindles, angles % np.pi),
            place(rng, seed, LYMPHOCYTE, points[lymphocyte]),
        ]
    )


def _outlines(rng: np.random.Generator, count: int) -> Points:
    """Radii (count, CORNERS) in µm of wavy outlines."""
    angle = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    radii = np.ones((count, CORNERS))
    for wave, swing in ((2, 0.16), (3, 0.08), (5, 0.05)):
        phase, depth = rng.uniform(0, 2 * np.pi, (count, 1)), rng.normal(0, swing, (count, 1))
        radii += depth.clip(-2 * swing, 2 * swing) * np.cos(wave * angle + phase)
    return radii * rng.uniform(26, 54, (count, 1))


def _filled(centres: Points, radii: Points, layers: Layers) -> Field:
    """Coverage (n, n) of the section by closed outlines, drawn at twice the size so that edges are smooth."""
    size = len(layers.eosin)
    image = Image.new("L", (2 * size, 2 * size))
    draw = ImageDraw.Draw(image)
    angle = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    for centre, radius in zip(centres, radii, strict=True):
        corners = 2 / layers.spacing * (centre + radius[:, None] * circle)
        draw.polygon(corners.ravel().tolist(), fill=255)
    return np.asarray(image.reduce(2), np.float32) / np.float32(255) * layers.section


def _gland_nuclei(rng: np.random.Generator, seed: int, centres: Points, radii: Points) -> Nuclei:
    """Nuclei along outlines, 7.8 µm apart, their long axes across the epithelium."""
    points, angles = [np.empty((0, 2))], [np.empty(0)]
    for centre, radius in zip(centres, radii, strict=True):
        count = int(2 * np.pi * radius.mean() / 7.8)
        angle = (np.arange(count) + rng.uniform(-0.25, 0.25, count)) * 2 * np.pi / count
        corner = np.arange(CORNERS + 1) * 2 * np.pi / CORNERS
        reach = np.interp(angle % (2 * np.pi), corner, np.append(radius, radius[0]))
        reach = reach + rng.normal(0, 1.1, count)
        points.append(centre + np.stack([np.cos(angle), np.sin(angle)], axis=1) * reach[:, None])
        angles.append(angle)
    return place(rng, seed, EPITHELIUM, np.concatenate(points), np.concatenate(angles) % np.pi)


def _wobble(rng: np.random.Generator, angle: Points) -> Points:
    waves = [rng.normal(0, 0.12) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in (1, 2, 3)]
    wobble: Points = 1 + np.sum(waves, axis=0)
    return wobble


def _inside(points: Points, side: float) -> Points:
    kept: Points = points[((points >= 0) & (points < side)).all(axis=1)]
    return kept
