"""Fixtures every folder of tests shares: the real data, and slides written on the spot."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("SLIDESTREAM_TEST_DATA", ROOT / "../shared/data")).resolve()

WriteSlide = Callable[..., Path]


@pytest.fixture(scope="session")
def real() -> Callable[[str], Path]:
    """`real("wsi/x.svs")` is the path of a real test file; the test is skipped where it is absent."""

    def find(name: str) -> Path:
        path = DATA / name
        if not path.exists():
            pytest.skip(f"no {name}: set SLIDESTREAM_TEST_DATA to the folder of real test data")
        return path

    return find


@pytest.fixture(scope="session")
def write_slide() -> WriteSlide:
    """`write_slide(path, pixels, mpp, levels=1, compression=None)` writes a tiled pyramidal TIFF.

    `pixels` is uint8 (H, W, 3); `mpp` one number or (x, y); every further level halves by averaging.
    Without compression a level is lossless, so that a test can compare exact values.
    """

    def write(
        path: Path,
        pixels: NDArray[np.uint8],
        mpp: float | tuple[float, float] | None,
        levels: int = 1,
        compression: str | None = None,
    ) -> Path:
        options: dict[str, object] = {"tile": (256, 256), "photometric": "rgb", "metadata": None}
        if compression:
            options |= {"compression": compression}
        if mpp is not None:
            x, y = (mpp, mpp) if isinstance(mpp, float | int) else mpp
            options |= {"resolution": (1e4 / x, 1e4 / y), "resolutionunit": "CENTIMETER"}
        with tifffile.TiffWriter(path) as tiff:
            for level in range(levels):
                tiff.write(pixels, subfiletype=int(level > 0), **options)
                pixels = _halve(pixels)
                options.pop("resolution", None)
                options.pop("resolutionunit", None)
        return path

    return write


def _halve(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    h, w = pixels.shape[0] // 2 * 2, pixels.shape[1] // 2 * 2
    blocks = pixels[:h, :w].reshape(h // 2, 2, w // 2, 2, 3).astype(np.float32)
    return blocks.mean(axis=(1, 3)).round().astype(np.uint8)
