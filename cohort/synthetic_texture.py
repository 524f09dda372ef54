"""Collagen and sensor noise: textures drawn once and laid over every block, since pixels are many."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from .synthetic_field import Points

PERIOD = 2048
BLOCK = 512
DIRECTIONS = 8
BUNDLE = 6.0
LENGTH = 45.0
CONTRAST = 52.0


@lru_cache(maxsize=2)
def fibres(seed: int, mpp: float) -> NDArray[np.int16]:
    """Wavy collagen bundles, int16 (PERIOD, PERIOD) in -127..127 about 0; it continues at its edges.

    A field of directions picks, pixel by pixel, among noise that was filtered along fixed directions.
    """
    rng = np.random.default_rng([seed, 3])
    spectrum = fft.rfft2(rng.standard_normal((PERIOD, PERIOD), dtype=np.float32))
    axis = np.arange(PERIOD, dtype=np.float32)
    angle = _angles(seed, axis[None, :], axis[:, None])
    x, y = np.cos(angle), np.sin(angle)
    woven = np.zeros((PERIOD, PERIOD), np.float32)
    for step in range(DIRECTIONS):
        direction = step * np.pi / DIRECTIONS
        noise = fft.irfft2(spectrum * _along(direction, mpp), s=(PERIOD, PERIOD))
        alike = np.square(x * np.float32(np.cos(direction)) + y * np.float32(np.sin(direction)))
        woven += noise * np.square(alike * alike * alike)
    levels = CONTRAST * woven / woven.std()
    return np.asarray(levels.clip(-127, 127).astype(np.int16))


def fibre_angles(seed: int, points_px: Points) -> Points:
    """The direction (N,) of the fibres in radians at points (N, 2) in px of the texture."""
    return np.asarray(_angles(seed, *points_px.T), np.float64)


@lru_cache(maxsize=2)
def grain(seed: int) -> NDArray[np.int16]:
    """Sensor noise in density levels, int16 (2, BLOCK, BLOCK), one plane for each stain."""
    rng = np.random.default_rng([seed, 4])
    return rng.normal(0, 1.0, (2, BLOCK, BLOCK)).round().astype(np.int16)


def _angles(seed: int, x: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.floating]:
    """A sum of waves with whole numbers of periods: long ones turn the bundles, short ones crimp them."""
    rng = np.random.default_rng([seed, 5])
    angle = np.float32(rng.uniform(0, np.pi)) + np.zeros_like(x + y)
    for low, high, swing in ((1, 3, 0.7), (1, 3, 0.6), (3, 6, 0.35), (14, 22, 0.22), (14, 22, 0.22)):
        kx, ky = rng.integers(low, high, 2) * rng.choice([-1, 1], 2)
        turn = np.float32(2 * np.pi / PERIOD)
        angle += np.float32(swing) * np.sin(turn * (kx * x + ky * y) + np.float32(rng.uniform(0, 2 * np.pi)))
    return angle


def _along(direction: float, mpp: float) -> NDArray[np.float32]:
    """Transfer function of a filter that draws noise out along a direction, for `rfft2`."""
    fy = (fft.fftfreq(PERIOD) / mpp).astype(np.float32)[:, None]
    fx = (fft.rfftfreq(PERIOD) / mpp).astype(np.float32)[None, :]
    along = fx * np.float32(np.cos(direction)) + fy * np.float32(np.sin(direction))
    across = np.abs(fy * np.float32(np.cos(direction)) - fx * np.float32(np.sin(direction)))
    band = np.square((across - 1 / BUNDLE) * BUNDLE / 1.3)
    gain: NDArray[np.float32] = np.exp(-band - np.square(along * LENGTH))
    return gain
