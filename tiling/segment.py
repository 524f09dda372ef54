"""Where the tissue is on a picture of a slide: pure functions of pixels, with sizes in microns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.morphology import remove_small_holes, remove_small_objects

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
    red, green, blue = (np.ascontiguousarray(rgb[..., c]) for c in range(3))
    brightest = np.maximum(np.maximum(red, green), blue)
    field: Field = "dark" if np.median(brightest[scanned]) < 60 else "bright"
    signal = _stain((red, green, blue), scanned) if field == "bright" else brightest.astype(np.float32) / 255
    floor, ceiling = CERTAIN[field]
    smooth = ndimage.gaussian_filter(signal, SMOOTH_UM / spacing)
    # Above the ceiling all is tissue: clipped there, dark tissue cannot pull Otsu's threshold (1979)
    # through pale tissue. Otsu finds two classes in the noise of empty glass too: hence the floor.
    threshold = max(floor, float(threshold_otsu(smooth[scanned].clip(0, ceiling))))
    # Closing and filling reach over what was not scanned, too: it is taken out at last.
    return Segmentation(_clean((smooth > threshold) & scanned, spacing) & scanned, field)


def _stain(channels: tuple[NDArray[np.uint8], ...], scanned: NDArray[np.bool_]) -> NDArray[np.float32]:
    """How much a pixel absorbs and how coloured that is, in optical density against the glass.

    Grey dirt and shadows absorb all colours alike; stains do not. So the spread between the channels
    counts fully and the mean density half.
    """
    red, green, blue = (_density(channel, scanned) for channel in channels)
    spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    mean = (red + green + blue) / 3
    return np.asarray(spread + 0.5 * mean.clip(0), np.float32)


def _density(channel: NDArray[np.uint8], scanned: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Optical density (h, w) of one channel against glass, which is its 99th percentile."""
    glass = np.float32(np.percentile(channel[scanned], 99))
    table: NDArray[np.float32] = -np.log10((np.arange(256, dtype=np.float32) + 1) / (glass + 1))
    return table[channel]


def _clean(mask: NDArray[np.bool_], spacing: float) -> NDArray[np.bool_]:
    """Close gaps, drop specks and small fragments, fill small holes; radii and areas are physical."""
    pixel_mm2 = (spacing / 1000) ** 2
    close, open_ = round(CLOSE_UM / spacing), round(OPEN_UM / spacing)
    framed = np.pad(mask, close, mode="edge")  # so that closing reaches over the picture's edge
    framed = _shrunk(_grown(framed, close), close)
    mask = framed[close : close + mask.shape[0], close : close + mask.shape[1]]
    mask = _grown(_shrunk(mask, open_), open_)
    mask = remove_small_objects(mask, max_size=int(MIN_FRAGMENT_MM2 / pixel_mm2))
    cleaned: NDArray[np.bool_] = remove_small_holes(mask, max_size=int(MAX_HOLE_MM2 / pixel_mm2))
    return cleaned


def _grown(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Dilation by an octagon, the nearest to a disc that neighbours alone can make."""
    for step in range(radius):
        before, mask = mask, mask.copy()
        mask[1:] |= before[:-1]
        mask[:-1] |= before[1:]
        if step % 2:  # a square after a cross: the columns take what the rows have grown to
            before = mask.copy()
        mask[:, 1:] |= before[:, :-1]
        mask[:, :-1] |= before[:, 1:]
    return mask


def _shrunk(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Erosion by the same octagon."""
    return ~_grown(~mask, radius)
