"""Where the tissue lies on the glass, and where in it the focus."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .synthetic_field import Field, Mask, highest, smooth_noise

COVERAGE = (0.34, 0.42)
FOCUS = (0.12, 0.18)
MARGIN = 0.04


def draw_tissue(rng: np.random.Generator, size: int) -> Mask:
    """One or two sections with an irregular outline, (size, size), clear of the slide's edge.

    How much of the slide they cover is drawn from `COVERAGE`.
    """
    field = np.max([_piece(rng, size, centre) for centre in _centres(rng)], axis=0)
    for scale, weight in ((0.30, 0.10), (0.10, 0.040), (0.03, 0.010)):
        field = field + weight * smooth_noise(rng, size, scale * size)
    away = _from_edge(size)
    field = field - 9.0 * np.clip(0.22 - away, 0, None) ** 2
    return _without_crumbs(highest(field, away > MARGIN, rng.uniform(*COVERAGE) / (1 - 2 * MARGIN) ** 2))


def draw_focus(rng: np.random.Generator, tissue: Mask) -> Mask:
    """A connected region of the tissue, the fraction of it drawn from `FOCUS`."""
    size = len(tissue)
    depth = ndimage.distance_transform_edt(tissue)
    rows, columns = np.nonzero(depth > 0.4 * depth.max())
    seed = rng.integers(len(rows))
    y, x = np.ogrid[:size, :size]
    distance = np.hypot(y - rows[seed], x - columns[seed]) / size
    field = 0.035 * smooth_noise(rng, size, 0.12 * size) - distance
    return highest(field.astype(np.float32), tissue, rng.uniform(*FOCUS))


def _from_edge(size: int) -> Field:
    """Distance (size, size) from the slide's nearest edge, in parts of its side."""
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size
    near = np.minimum(axis, 1 - axis)
    return np.asarray(np.minimum(near[None, :], near[:, None]))


def _centres(rng: np.random.Generator) -> list[tuple[float, float]]:
    shift = rng.uniform(-0.04, 0.04, (2, 2))
    if rng.random() < 0.4:
        return [(0.5 + shift[0, 0], 0.5 + shift[0, 1])]
    turn = rng.uniform(0, np.pi)
    away = 0.23 * np.array([np.cos(turn), np.sin(turn)])
    return [tuple(0.5 + sign * away + move) for sign, move in zip((-1, 1), shift, strict=True)]


def _piece(rng: np.random.Generator, size: int, centre: tuple[float, float]) -> Field:
    """Falls off with the elliptical distance from the centre, both in parts of the side."""
    turn, aspect = rng.uniform(0, np.pi), rng.uniform(1.0, 1.6)
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size
    x, y = axis[None, :] - centre[0], axis[:, None] - centre[1]
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    field: Field = -np.hypot(along / np.sqrt(aspect), across * np.sqrt(aspect))
    return field


def _without_crumbs(tissue: Mask) -> Mask:
    """Without the islets that thresholding noise leaves, which no section has."""
    labels, count = ndimage.label(tissue)
    areas = ndimage.sum_labels(tissue, labels, np.arange(count + 1))
    return np.asarray((areas > 0.1 * areas.sum())[labels])
