"""Pixels of real and of drawn H&E."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="session")
def picture(real: Callable[[str], Path]) -> Callable[[str], Pixels]:
    """`picture("stain/torchstain/source.png")` is that file, uint8 (H, W, 3)."""

    def load(name: str) -> Pixels:
        with Image.open(real(name)) as image:
            return np.array(image.convert("RGB"))

    return load


@pytest.fixture(scope="session")
def drawn() -> Callable[..., Pixels]:
    """`drawn(stains, pixels)`: uint8 (N, 3) of two stains (2, 3), mostly one of them, on white 240."""

    def draw(stains: NDArray[np.float64], pixels: int = 20_000, seed: int = 0) -> Pixels:
        rng = np.random.default_rng(seed)
        amounts = rng.gamma(3, 0.25, (pixels, 2))
        amounts[np.arange(pixels), rng.integers(2, size=pixels)] *= 0.02
        levels: Pixels = (240 * np.exp(-amounts @ stains) - 1).round().clip(0, 255).astype(np.uint8)
        return levels

    return draw
