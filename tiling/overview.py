"""One low-resolution look at a source: where its tissue or body is, and a thumbnail to keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..radiology.volume import Volume
from ..wsi.slide import Slide
from .annotations import Annotation, Canvas, corrected, replaces
from .picture import Picture
from .segment import Segmentation, segment
from .spec import TissueSpec

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
        ink: pen by colour, uint8 (h, w) on the pixels of a slide's mask, see `ink.find_ink`; all 0 for a
            volume.
    """

    mask: NDArray[np.bool_]
    covers: tuple[int, int]
    thumbnail: NDArray[np.uint8]
    footprint: NDArray[np.uint8]
    background: str
    ink: NDArray[np.uint8]


def overview(
    source: Slide | Volume, tissue: TissueSpec | None = None, annotations: Sequence[Annotation] = ()
) -> Overview:
    """Segment a slide's tissue, or a volume's body, in bounded memory.

    Args:
        tissue: how a slide's tissue is found; volumes have one way.
        annotations: what a person drew on a slide: it wins over the segmenter, see `corrected`.

    Raises:
        NotBrightfield, NotFluorescence: the segmenter was made for the other kind of slide.
    """
    if isinstance(source, Volume):
        return _of_volume(source)
    return _of_slide(source, tissue or TissueSpec(), annotations)


def _of_slide(slide: Slide, spec: TissueSpec, annotations: Sequence[Annotation]) -> Overview:
    rgb, scanned = slide.overview(spec.spacing, spec.max_px)
    picture = Picture(rgb, scanned, slide.size[0] * slide.spacing[0] / rgb.shape[1])
    found = _found(picture, spec, annotations, slide.size)
    height, width = rgb.shape[:2]
    shrink = min(1.0, THUMBNAIL_MAX_PX / max(width, height))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    thumbnail = np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BOX))
    footprint = _resized(found.mask, size)
    return Overview(found.mask, slide.size, thumbnail, footprint, found.field, found.ink)


def _found(
    picture: Picture, spec: TissueSpec, annotations: Sequence[Annotation], covers: tuple[int, ...]
) -> Segmentation:
    """What the segmenter finds, unless a person has said where tissue is; then what the person drew."""
    drawn = replaces(annotations)
    if drawn and picture.is_dark:
        spec = replace(spec, segmenter="dark")
    found = segment(picture, spec)
    mask = corrected(None if drawn else found.mask, annotations, Canvas(picture.scanned.shape, covers))
    return replace(found, mask=mask & picture.scanned)


def _of_volume(volume: Volume) -> Overview:
    mask = volume.body_mask()
    covers = (mask.shape[2] * volume.mask_step, mask.shape[1] * volume.mask_step)
    thumbnail = volume.thumbnail(THUMBNAIL_MAX_PX)
    voxels: NDArray[np.bool_] = np.any(mask, axis=0).repeat(volume.mask_step, 0).repeat(volume.mask_step, 1)
    anywhere = voxels[: volume.size[1], : volume.size[0]]
    footprint = _resized(anywhere, (thumbnail.shape[1], thumbnail.shape[0]))
    return Overview(mask, covers, thumbnail, footprint, "air", np.zeros(mask.shape[1:], np.uint8))


def _resized(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.uint8]:
    picture = Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BOX)
    return (np.asarray(picture) >= 128).astype(np.uint8)
