"""One low-resolution look at a source: where its tissue or body is, and a thumbnail to keep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..radiology.volume import Volume
from ..wsi.slide import Slide
from .segment import segment

ANALYSIS_UM = 8.0
ANALYSIS_MAX_PX = 2048
THUMBNAIL_MAX_PX = 1024


@dataclass(frozen=True)
class Overview:
    """What is known of a source before its patches are read.

    Attributes:
        mask: tissue, bool (h, w), or body, bool (slices, h, w) for a volume.
        covers: in-plane level-0 px (x, y) that the mask spans.
        thumbnail: uint8 (H, W, 3), at most 1,024 px a side.
        footprint: the mask on the thumbnail's pixels, uint8 (H, W), 0 or 1; for a volume, of any slice.
        background: "bright", "dark" (fluorescence on black) or, for a volume, "air".
    """

    mask: NDArray[np.bool_]
    covers: tuple[int, int]
    thumbnail: NDArray[np.uint8]
    footprint: NDArray[np.uint8]
    background: str


def overview(source: Slide | Volume) -> Overview:
    """Segment a slide's tissue, or a volume's body, in bounded memory."""
    return _of_volume(source) if isinstance(source, Volume) else _of_slide(source)


def _of_slide(slide: Slide) -> Overview:
    rgb, scanned = slide.overview(ANALYSIS_UM, ANALYSIS_MAX_PX)
    found = segment(rgb, scanned, slide.size[0] * slide.spacing[0] / rgb.shape[1])
    height, width = rgb.shape[:2]
    shrink = min(1.0, THUMBNAIL_MAX_PX / max(width, height))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    thumbnail = np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BOX))
    return Overview(found.mask, slide.size, thumbnail, _resized(found.mask, size), found.field)


def _of_volume(volume: Volume) -> Overview:
    mask = volume.body_mask()
    covers = (mask.shape[2] * volume.mask_step, mask.shape[1] * volume.mask_step)
    thumbnail = volume.thumbnail(THUMBNAIL_MAX_PX)
    voxels: NDArray[np.bool_] = np.any(mask, axis=0).repeat(volume.mask_step, 0).repeat(volume.mask_step, 1)
    anywhere = voxels[: volume.size[1], : volume.size[0]]
    footprint = _resized(anywhere, (thumbnail.shape[1], thumbnail.shape[0]))
    return Overview(mask, covers, thumbnail, footprint, "air")


def _resized(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.uint8]:
    picture = Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BOX)
    return (np.asarray(picture) >= 128).astype(np.uint8)
