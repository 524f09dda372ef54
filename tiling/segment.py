"""Where the tissue is on a picture of a slide: pure functions of pixels, with sizes in microns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.morphology import isotropic_closing, isotropic_opening, remove_small_holes, remove_small_objects

SMOOTH_UM = 8.0
CLOSE_UM = 24.0
OPEN_UM = 12.0
MIN_FRAGMENT_MM2 = 0.02
MAX_HOLE_MM2 = 0.02

Field = Literal["bright", "dark"]

CERTAIN = {"bright": (0.035, 0.12), "dark": (0.06, 0.5)}
"""Signal below which nothing, and above which everything, is tissue, on any slide: optical density on
bright glass, brightness 0 to 1 on black."""


@dataclass(frozen=True)
class Segmentation:
    """Tissue as bool (h, w), and whether the background is bright glass or dark (fluorescence)."""

    mask: NDArray[np.bool_]
    field: Field


def segment(rgb: NDArray[np.uint8], scanned: NDArray[np.bool_], spacing: float) -> Segmentation:
    """Tissue on an overview picture.

    Args:
        rgb: uint8 (h, w, 3).
        scanned: bool (h, w), false where the scanner has no data; never tissue.
        spacing: µm per px of the picture.
    """
    if not scanned.any():
        return Segmentation(np.zeros(scanned.shape, bool), "bright")
    field: Field = "dark" if np.median(rgb.max(axis=2)[scanned]) < 60 else "bright"
    signal = _stain(rgb, scanned) if field == "bright" else rgb.max(axis=2).astype(np.float32) / 255
    floor, ceiling = CERTAIN[field]
    smooth = ndimage.gaussian_filter(signal, SMOOTH_UM / spacing)
    # Above the ceiling all is tissue: clipped there, dark tissue cannot pull Otsu's threshold (1979)
    # through pale tissue. Otsu finds two classes in the noise of empty glass too: hence the floor.
    threshold = max(floor, float(threshold_otsu(smooth[scanned].clip(0, ceiling))))
    return Segmentation(_clean((smooth > threshold) & scanned, spacing), field)


def _stain(rgb: NDArray[np.uint8], scanned: NDArray[np.bool_]) -> NDArray[np.float32]:
    """How much a pixel absorbs and how coloured that is, in optical density against the glass.

    Grey dirt and shadows absorb all colours alike; stains do not. So the spread between the channels
    counts fully and the mean density half.
    """
    glass = np.array([np.percentile(rgb[..., c][scanned], 99) for c in range(3)], np.float32)
    table = -np.log10((np.arange(256, dtype=np.float32)[:, None] + 1) / (glass + 1))
    density = np.stack([table[rgb[..., c], c] for c in range(3)], axis=-1)
    spread = density.max(axis=2) - density.min(axis=2)
    signal: NDArray[np.float32] = spread + 0.5 * density.mean(axis=2).clip(0)
    return signal


def _clean(mask: NDArray[np.bool_], spacing: float) -> NDArray[np.bool_]:
    """Close gaps, drop specks and small fragments, fill small holes; radii and areas are physical."""
    pixel_mm2 = (spacing / 1000) ** 2
    mask = isotropic_closing(np.pad(mask, 8, mode="edge"), CLOSE_UM / spacing)[8:-8, 8:-8]
    mask = isotropic_opening(mask, OPEN_UM / spacing)
    mask = remove_small_objects(mask, max_size=int(MIN_FRAGMENT_MM2 / pixel_mm2))
    cleaned: NDArray[np.bool_] = remove_small_holes(mask, max_size=int(MAX_HOLE_MM2 / pixel_mm2))
    return cleaned
